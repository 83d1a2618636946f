package sql

import (
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// place is where in a statement the recogniser is: the command that objects belong to, the names that are
// visible, the statements around.
type place struct {
	b     *builder
	ctes  *cteScope
	names *nameScope
	via   []string
	// utility says that relations met are changed, as in most statements that are not queries; definer that
	// names met may be functions that an object will call.
	utility, definer bool
	// into says that the query's INTO is known already.
	into bool
}

// through is the way into a statement inside one of the tag.
func (at place) through(tag string) []string {
	return append(at.via[:len(at.via):len(at.via)], tag)
}

// cteScope holds the names of a WITH clause: an unqualified relation of that name is not a table.
type cteScope struct {
	names map[string]bool
	outer *cteScope
}

func (c *cteScope) has(name string, e *effort) bool {
	for ; c != nil && e.look(1); c = c.outer {
		if c.names[name] {
			return true
		}
	}
	return false
}

// nameScope holds the relations of a FROM clause, for resolving column names; outer are those of the enclosing
// query.
type nameScope struct {
	relations []source
	outer     *nameScope
}

// source is one relation in FROM. Without tables it is a subquery, a function or a CTE, whose own columns were
// collected where it stands.
type source struct {
	alias  string
	tables []RelationName
	// value says that it is a function, whose row may be a value of any type; fields are the columns that it is known
	// to have then.
	value  bool
	fields []string
}

func (n *nameScope) add(alias string, tables []RelationName) {
	n.relations = append(n.relations, source{alias: alias, tables: tables})
}

// find returns the nearest source of the alias.
func (n *nameScope) find(alias string, e *effort) (source, bool) {
	for ; n != nil && e.look(len(n.relations)/scanned); n = n.outer {
		for _, s := range n.relations {
			if s.alias == alias {
				return s, true
			}
		}
	}
	return source{}, false
}

// columnRef notes the columns that a reference could mean, as schema.table.column.
func (r *recogniser) columnRef(at place, fields []string, star bool) {
	switch n := len(fields); {
	case n == 0 && star:
		for _, s := range at.scope() {
			at.addColumns(s.tables, policy.Unknown)
		}
	case n == 0:
	case star:
		at.addColumns(at.qualified(fields), policy.Unknown)
	case n == 1:
		r.unqualified(at, fields[0])
	default:
		if s, ok := at.names.find(fields[0], at.b.effort); n == 2 && ok && s.value && !slices.Contains(s.fields, fields[1]) {
			r.attribute(fields[1], at.b)
		}
		at.addColumns(at.qualified(fields[:n-1]), fields[n-1])
	}
}

// unqualified notes a bare column name: it could belong to any visible relation that is not known to lack it,
// and it could be the whole row of a relation of that name.
func (r *recogniser) unqualified(at place, name string) {
	found, tables := false, false
	for scope := at.names; scope != nil; scope = scope.outer {
		for _, s := range scope.relations {
			if !r.effort.look(1 + len(s.tables)) {
				return
			}
			found = true
			for _, t := range s.tables {
				tables = true
				if has, known := r.hasColumn(t, name); has || !known {
					at.b.addColumn(dotted(t.Schema, t.Name, name))
				}
			}
			if s.alias == name {
				at.addColumns(s.tables, policy.Unknown)
			}
		}
	}
	if !found && !tables {
		at.b.addColumn(dotted("", "", name))
	}
}

// hasColumn asks the catalogue, where there is one.
func (r *recogniser) hasColumn(t RelationName, column string) (has, known bool) {
	if r.st.Catalogue == nil {
		return false, false
	}
	relation, known := r.st.Catalogue.Relation(t.Schema, t.Name)
	if !known {
		return false, false
	}
	r.effort.look(len(relation.Columns) / scanned)
	for _, c := range relation.Columns {
		if c == column {
			return true, true
		}
	}
	return false, true
}

// qualified returns the tables that a qualifier (alias, or schema and table) could mean.
func (at place) qualified(qualifier []string) []RelationName {
	schema, name := relationOf(qualifier)
	if schema == "" {
		if s, ok := at.names.find(name, at.b.effort); ok {
			return s.tables
		}
	}
	return []RelationName{{schema, name}}
}

func (at place) addColumns(tables []RelationName, column string) {
	for _, t := range tables {
		if at.b.effort.over {
			return
		}
		at.b.addColumn(dotted(t.Schema, t.Name, column))
	}
}

func (at place) scope() []source {
	if at.names == nil {
		return nil
	}
	return at.names.relations
}
