package sql

import (
	"slices"
	"strings"
)

// maxViewDepth bounds how many views may stand on each other.
const maxViewDepth = 32

// relation returns the columns of a relation of the statement. Where it could be several, it is the first that
// the catalogue knows, as the server finds it; a temporary one that it does not know could be anything.
func (t *tracer) relation(names []RelationName) rows {
	out := t.firstRelation(names)
	t.touches = t.touches || out.worst().Proof != Clear
	return out
}

func (t *tracer) firstRelation(names []RelationName) rows {
	for _, n := range names {
		r, known := t.oneRelation(n)
		if known || n.Schema == schemaTemporary {
			return r
		}
	}
	n := names[0]
	if len(names) == 1 && (n.Schema == schemaCatalog || n.Schema == schemaInformation) {
		r, _ := t.oneRelation(n)
		return r
	}
	return unknownRelation(n)
}

// orEarlier returns the columns of a relation that may as well be one which a plan made before reads by the name: each
// as protected as in any of them.
func (t *tracer) orEarlier(now rows, name string) rows {
	st := t.st
	st.Catalogue = t.cat
	for _, schema := range st.earlier(name) {
		n := RelationName{schema, name}
		if t.cat != nil && st.gone(schema, name) {
			continue
		}
		before, _ := t.oneRelation(n)
		now = either(now, before, n)
	}
	t.touches = t.touches || now.worst().Proof != Clear
	return now
}

// either merges the columns of two relations of which one is read; those of other columns tell nothing.
func either(a, b rows, n RelationName) rows {
	alike := a.known && b.known && slices.EqualFunc(a.columns, b.columns, func(x, y attribute) bool { return x.name == y.name })
	if !alike {
		return rows{rest: unproved("what the statement was prepared for, which may be " + dotted(n.Schema, n.Name) + ", is not known any more")}
	}
	out := rows{known: true, columns: slices.Clone(a.columns)}
	for i := range out.columns {
		out.columns[i].Column = mixed(out.columns[i].Column, b.columns[i].Column)
	}
	return out
}

func unknownRelation(n RelationName) rows {
	return rows{rest: unproved("relation " + dotted(n.Schema, n.Name) + " is not known")}
}

// oneRelation returns the columns of one relation, and whether it is known at all.
func (t *tracer) oneRelation(n RelationName) (rows, bool) {
	if n.Schema == schemaCatalog || n.Schema == schemaInformation {
		return t.systemRelation(n)
	}
	var r Relation
	known := false
	if t.cat != nil && n.Schema != "" {
		r, known = t.cat.Relation(n.Schema, n.Name)
	}
	if !known {
		return unknownRelation(n), false
	}
	if leakyCatalogues[n.Name] {
		return t.uniform(r.Columns, unproved(dotted(n.Schema, n.Name)+", which may hold values of other tables")), true
	}
	switch r.Kind {
	case 'v', 'm':
		return t.view(n, r), true
	case 'r', 'p', 'f':
	case 'S':
		return t.uniform(r.Columns, proved), true
	default:
		return t.uniform(r.Columns, unproved(dotted(n.Schema, n.Name)+" is not a table")), true
	}
	out := rows{known: true}
	for _, c := range r.Columns {
		out.columns = append(out.columns, attribute{c, t.protection(n, r, c)})
	}
	return out, true
}

// protection is what the policies say of a table's own column, by any of the names that its rows go by.
func (t *tracer) protection(n RelationName, r Relation, column string) Column {
	if row, ok := t.p.Match(n.Schema, n.Name, column); ok {
		return Column{Proof: Masked, Row: row, Source: dotted(n.Schema, n.Name, column)}
	}
	for _, f := range r.Family {
		if row, ok := t.p.Match(f.Schema, f.Name, column); ok {
			return Column{Proof: Masked, Row: row, Source: dotted(f.Schema, f.Name, column)}
		}
	}
	return proved
}

// systemRelation is a catalogue: it holds no rows of tables, but for those that keep samples of them. Policies
// may protect its columns like any other's.
func (t *tracer) systemRelation(n RelationName) (rows, bool) {
	proof := proved
	if leakyCatalogues[n.Name] {
		proof = unproved(dotted(n.Schema, n.Name) + ", which may hold values of other tables")
	}
	var r Relation
	known := false
	if t.cat != nil {
		r, known = t.cat.Relation(n.Schema, n.Name)
	}
	if !known {
		if _, protected := t.p.Match(n.Schema, n.Name, ""); protected {
			proof = unproved(dotted(n.Schema, n.Name))
		}
		return rows{rest: proof}, false
	}
	out := rows{known: true}
	for _, c := range r.Columns {
		out.columns = append(out.columns, attribute{c, worse(t.protection(n, r, c), proof)})
	}
	return out, true
}

func (t *tracer) uniform(columns []string, c Column) rows {
	out := rows{known: true}
	for _, name := range columns {
		out.columns = append(out.columns, attribute{name, c})
	}
	return out
}

// view returns a view's columns: what its own query makes of the tables under it, and what the policies say of
// the view by name.
func (t *tracer) view(n RelationName, r Relation) rows {
	if out, done := t.views[n]; done {
		return out
	}
	under := rows{}
	switch {
	case r.Definition == "":
		under.rest = unproved("the definition of " + dotted(n.Schema, n.Name) + " is not known")
	case t.inView[n] || len(t.inView) >= maxViewDepth:
		under.rest = unproved(dotted(n.Schema, n.Name) + " stands on too many views")
	default:
		under = t.definition(n, r.Definition)
	}
	out := rows{known: true}
	for i, name := range r.Columns {
		c := under.rest
		if under.known && len(under.columns) == len(r.Columns) {
			c = under.columns[i].Column
		} else if under.known {
			c = unproved("the definition of " + dotted(n.Schema, n.Name) + " is out of date")
		}
		out.columns = append(out.columns, attribute{name, worse(t.protection(n, r, name), c)})
	}
	t.views[n] = out
	return out
}

// definition traces a view's query. Names in it are qualified but for those of pg_catalog; its predicates are
// its owner's, not the agent's.
func (t *tracer) definition(n RelationName, definition string) rows {
	trees, err := grammar(strings.TrimSuffix(strings.TrimSpace(definition), ";"))
	if err != nil || len(trees) != 1 {
		return rows{rest: unproved("the definition of " + dotted(n.Schema, n.Name) + " could not be read")}
	}
	query := trees[0].root.GetSelectStmt()
	if query == nil {
		return rows{rest: unproved("the definition of " + dotted(n.Schema, n.Name) + " is not a query")}
	}
	inner := &tracer{p: t.p, cat: t.cat, views: t.views, inView: t.inView, steps: t.steps, st: State{StandardConformingStrings: true}}
	t.inView[n] = true
	out := inner.query(query, &scope{})
	delete(t.inView, n)
	t.steps = inner.steps
	t.impure, t.touches = t.impure || inner.impure, t.touches || inner.touches
	return out
}
