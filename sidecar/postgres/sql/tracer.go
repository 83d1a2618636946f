package sql

import (
	"fmt"
	"slices"
)

// maxSteps bounds the work of tracing one statement: nested recursive queries are gone through several times at
// each level. A statement of maxTokens without them takes some hundred thousand steps.
const maxSteps = 2_000_000

// tracer follows values from the relations of a statement to its output. It over-approximates: a name that could
// mean several columns means the worst of them, and what it does not know is not clear.
type tracer struct {
	p   *Protected
	cat Catalogue
	st  State
	// launders and infers are the first finding of each kind; inferred counts all of the latter.
	launders, infers string
	inferred         int
	// impure is set by a call of a function that is not known to compute from its arguments alone.
	impure bool
	// touches is set by what may hold protected values, wherever in the statement it stands.
	touches bool
	views   map[RelationName]rows
	// inView are the views that are being expanded.
	inView map[RelationName]bool
	steps  int
}

// attribute is a column of a row set. An empty name is one that could not be worked out: it matches any.
type attribute struct {
	name string
	Column
}

// rows is the columns of a relation, a subquery or a result.
type rows struct {
	columns []attribute
	// known says that columns are all there are, in order; else any column could also be rest.
	known bool
	rest  Column
}

var proved = Column{Proof: Clear}

func unproved(why string) Column { return Column{Proof: Unproved, Source: why} }

// worse combines two columns of which a value could be either: by one mask where both have the same, by
// replacing the whole of it where they have not.
func worse(a, b Column) Column {
	switch {
	case a.Proof == Clear:
		return b
	case b.Proof == Clear:
		return a
	case a.Proof == Masked && b.Proof == Masked && a.Row == b.Row:
		a.Mixed = a.Mixed || b.Mixed
		return a
	case a.Proof == Unproved:
		return a
	case b.Proof == Unproved:
		return b
	}
	return unproved(a.Source)
}

// mixed is worse for values of both, which stand in one column of the result.
func mixed(a, b Column) Column {
	out := worse(a, b)
	out.Mixed = out.Proof == Masked && (a.Mixed || b.Mixed || a.Proof == Clear || b.Proof == Clear)
	return out
}

// worst is the worst of all columns.
func (r rows) worst() Column {
	out, columns := r.rest, r.columns
	if r.known {
		out = proved
		if len(columns) > 0 {
			out, columns = columns[0].Column, columns[1:]
		}
	}
	for _, c := range columns {
		out = mixed(out, c.Column)
	}
	return out
}

// whole is the row as one value.
func (r rows) whole() Column { return computed(r.worst()) }

// computed is the result of an expression over a column: no longer the value that a method knows how to mask.
func computed(c Column) Column {
	if c.Proof == Clear {
		return proved
	}
	return unproved(c.Source)
}

// infer notes that a column is used outside plain output.
func (t *tracer) infer(c Column) {
	if c.Proof == Clear {
		return
	}
	t.inferred++
	if t.infers == "" {
		t.infers = c.Source
	}
}

// launder notes that values of a column would come to where they cannot be masked.
func (t *tracer) launder(c Column, to string) {
	if c.Proof == Clear || t.launders != "" {
		return
	}
	t.launders = fmt.Sprintf("values of %s, which is masked, would come into %s", c.Source, to)
	if c.Proof == Unproved {
		t.launders = fmt.Sprintf("values that may be masked ones (%s) would come into %s", c.Source, to)
	}
}

// step counts work; it reports false when there was too much.
func (t *tracer) step() bool {
	t.steps++
	return t.steps <= maxSteps
}

// scanned is how many columns may be looked at for the price of a step.
const scanned = 16

// copies counts columns that are copied, which take memory as well.
func (t *tracer) copies(n int) bool {
	t.steps += 4 * n
	return !t.exhausted()
}

// intricate is what is known where there was too much.
var intricate = rows{rest: unproved("the statement is too intricate to trace")}

func (t *tracer) exhausted() bool { return t.steps > maxSteps }

// scope is what names mean at one level of a query.
type scope struct {
	tables []*table
	outer  *scope
	ctes   *cteRows
}

// table is an entry of a FROM clause.
type table struct {
	alias string
	// names are the relation's full names, where it has no alias: schema.table.column is allowed then.
	names []RelationName
	rows  rows
	// relation is true for a table or view, which has system columns; value for a function in FROM, whose row may be
	// a value of any type.
	relation, value bool
	// columnsHidden: only reachable by a qualified name, because a join shows the columns instead; nameHidden:
	// the join's alias hides the entry altogether.
	columnsHidden, nameHidden bool
}

// cteRows are the results of WITH queries, by name.
type cteRows struct {
	name  string
	rows  rows
	outer *cteRows
}

func (c *cteRows) find(name string) (rows, bool) {
	for ; c != nil; c = c.outer {
		if c.name == name {
			return c.rows, true
		}
	}
	return rows{}, false
}

// systemColumns every table has (ddl-system-columns in the server's manual).
var systemColumns = words(`tableoid xmin cmin xmax cmax ctid oid`)

// resolve is what a column reference could be.
func (t *tracer) resolve(fields []string, sc *scope) Column {
	if !t.step() {
		return unproved("the statement is too intricate to trace")
	}
	if len(fields) == 1 {
		return t.bare(fields[0], sc)
	}
	name := fields[len(fields)-1]
	schema, qualifier := relationOf(fields[:len(fields)-1])
	for s := sc; s != nil; s = s.outer {
		found, out := false, proved
		t.steps += len(s.tables) / scanned
		for _, e := range s.tables {
			if !e.named(schema, qualifier) {
				continue
			}
			t.steps += len(e.rows.columns) / scanned
			found = true
			c := e.column(name)
			if e.value && !e.has(name) {
				c = t.attribute(name, c)
			}
			out = worse(out, c)
		}
		if found {
			return out
		}
	}
	return unproved("column " + dotted(fields...) + " is not known")
}

// bare resolves an unqualified name: a column of the nearest level that has it, else the row of a relation.
func (t *tracer) bare(name string, sc *scope) Column {
	maybe, loose := proved, false
	for s := sc; s != nil; s = s.outer {
		found, out := false, proved
		t.steps += len(s.tables) / scanned
		for _, e := range s.tables {
			if e.columnsHidden || e.nameHidden {
				continue
			}
			t.steps += len(e.rows.columns) / scanned
			for _, c := range e.rows.columns {
				switch c.name {
				case name:
					found, out = true, worse(out, c.Column)
				case "":
					loose, maybe = true, worse(maybe, c.Column)
				}
			}
			if !e.rows.known {
				loose, maybe = true, worse(maybe, e.rows.rest)
			}
		}
		if found {
			return worse(out, maybe)
		}
	}
	for s := sc; s != nil; s = s.outer {
		for _, e := range s.tables {
			if e.alias == name && !e.nameHidden {
				t.steps += len(e.rows.columns) / scanned
				return worse(e.rows.whole(), maybe)
			}
		}
	}
	if loose {
		return maybe
	}
	for s := sc; s != nil; s = s.outer {
		for _, e := range s.tables {
			if e.relation && systemColumns[name] {
				return proved
			}
		}
	}
	return unproved("column " + name + " is not known")
}

func (e *table) named(schema, qualifier string) bool {
	if e.nameHidden {
		return false
	}
	if schema == "" {
		return e.alias == qualifier
	}
	for _, n := range e.names {
		if n.Name == qualifier && (n.Schema == schema || n.Schema == "") {
			return true
		}
	}
	return false
}

// column is one column of the entry. A name that is no column of it can still be a function over its whole row
// (c.f means f(c)).
func (e *table) column(name string) Column {
	found, out := false, proved
	for _, c := range e.rows.columns {
		switch c.name {
		case name:
			found, out = true, worse(out, c.Column)
		case "":
			found, out = true, worse(out, c.Column)
		}
	}
	switch {
	case !e.rows.known:
		return worse(out, e.rows.rest)
	case found:
		return out
	case e.relation && systemColumns[name]:
		return proved
	}
	return unproved(dotted(e.alias, name) + " is not known to be a column")
}

// has tells whether the entry is known to have a column of the name.
func (e *table) has(name string) bool {
	return slices.ContainsFunc(e.rows.columns, func(a attribute) bool { return a.name == name })
}

// relationTables are the full names that a reference in the statement could mean.
func (t *tracer) relationTables(schema, name string) []RelationName {
	st := t.st
	st.Catalogue, st.Earlier = nil, nil
	return namesOf(st.table(schema, name))
}
