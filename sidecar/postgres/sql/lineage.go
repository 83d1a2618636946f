package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Lineage says for each output column of the statement whether it could hold a value that p protects, and what
// else the statement does with protected columns. Whatever is not proved clear is not clear; cat may be nil, and
// then no relation but the system's is known.
//
// For PREPARE and DECLARE CURSOR the output is that of Inner, whose own Lineage the wire keeps by name; EXECUTE
// and FETCH by themselves prove nothing.
func (s *Statement) Lineage(p *Protected, cat Catalogue) Shape {
	if p.Empty() {
		return Shape{Rest: proved}
	}
	t := &tracer{p: p, cat: cat, st: s.st, views: make(map[RelationName]rows), inView: make(map[RelationName]bool)}
	out := t.statement(unwrap(s.node.root), s)
	if t.exhausted() {
		why := "the statement is too intricate to trace"
		return Shape{Rest: unproved(why), Launders: why, Infers: why, Touches: true}
	}
	shape := Shape{Known: out.known, Rest: out.rest, Launders: t.launders, Infers: t.infers,
		Touches: t.touches || t.impure || t.launders != "" || t.infers != "" || out.worst().Proof != Clear}
	if !out.known {
		shape.Rest = out.worst()
		return shape
	}
	shape.Columns = make([]Column, len(out.columns))
	for i, c := range out.columns {
		shape.Columns[i] = c.Column
	}
	return shape
}

// Apply notes the statement's use of protected columns in its commands, for policy.Decide.
func (s *Shape) Apply(commands []policy.Command) {
	for i := range commands {
		if commands[i].SQL != nil {
			commands[i].SQL.Launders, commands[i].SQL.Infers = s.Launders, s.Infers
		}
	}
}

// statement traces a whole statement and returns its output.
func (t *tracer) statement(m proto.Message, s *Statement) rows {
	nothing := rows{known: true}
	switch n := m.(type) {
	case *pg_query.SelectStmt:
		out := t.query(n, &scope{})
		if into := leftmost(n).IntoClause; into != nil {
			t.launder(out.worst(), "table "+into.GetRel().GetRelname())
			return nothing
		}
		return out
	case *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt:
		return t.rowsOf(m, &scope{})
	case *pg_query.ExplainStmt:
		t.statement(unwrap(n.Query), s)
		if t.impure {
			// Constant expressions are computed when the plan is made, and shown in it.
			return rows{rest: unproved("the plan may show results of functions that may read anything")}
		}
		return rows{rest: proved}
	case *pg_query.PrepareStmt:
		t.statement(unwrap(n.Query), s)
		return nothing
	case *pg_query.DeclareCursorStmt:
		t.statement(unwrap(n.Query), s)
		return nothing
	case *pg_query.CreateTableAsStmt:
		if n.Query.GetExecuteStmt() != nil {
			t.launder(unproved("a prepared statement"), "table "+n.GetInto().GetRel().GetRelname())
			return nothing
		}
		t.launder(t.rowsOf(unwrap(n.Query), &scope{}).worst(), "table "+n.GetInto().GetRel().GetRelname())
		return nothing
	case *pg_query.ViewStmt:
		t.launder(t.rowsOf(unwrap(n.Query), &scope{}).worst(), "view "+n.GetView().GetRelname())
		return nothing
	case *pg_query.CopyStmt:
		return t.copy(n)
	case *pg_query.ExecuteStmt:
		// What is given it comes into a statement that was traced without.
		for _, v := range n.Params {
			t.launder(t.expr(unwrap(v), &scope{}), "a parameter of prepared statement "+n.Name)
		}
		return rows{rest: unproved("what prepared statement " + n.Name + " returns")}
	case *pg_query.FetchStmt:
		return rows{rest: unproved("what cursor " + n.Portalname + " returns")}
	case *pg_query.VariableShowStmt:
		return rows{rest: proved}
	case *pg_query.IndexStmt:
		t.index(n)
	case *pg_query.CallStmt:
		t.opaque(s.Tag)
		return rows{rest: unproved("what the procedure returns")}
	}
	t.defined(s)
	return nothing
}

// index notes what making an index tells of a table's values: whether two are equal, and whether an expression or a
// predicate fails for one.
func (t *tracer) index(n *pg_query.IndexStmt) {
	sc := &scope{}
	on := t.target(n.Relation, sc)
	for _, p := range n.IndexParams {
		switch e := p.GetIndexElem(); {
		case e.GetExpr() != nil:
			t.predicate(unwrap(e.Expr), sc)
		case n.Unique:
			t.infer(on.column(e.GetName()))
		}
	}
	t.predicates([]*pg_query.Node{n.WhereClause}, sc)
}

// copy is a COPY to the client: a query's columns, or a table's.
func (t *tracer) copy(n *pg_query.CopyStmt) rows {
	if n.IsFrom {
		if n.WhereClause != nil {
			sc := &scope{}
			t.target(n.Relation, sc)
			t.predicate(unwrap(n.WhereClause), sc)
		}
		return rows{known: true}
	}
	if n.Query != nil {
		return t.rowsOf(unwrap(n.Query), &scope{})
	}
	names := t.relationTables(n.GetRelation().GetSchemaname(), n.GetRelation().GetRelname())
	all := t.relation(names)
	listed, _ := stringsOf(n.Attlist)
	if !all.known {
		return all
	}
	if len(listed) == 0 {
		return t.withoutGenerated(names, all)
	}
	e := &table{rows: all}
	out := rows{known: true}
	for _, name := range listed {
		out.columns = append(out.columns, attribute{name, e.column(name)})
	}
	return out
}

// withoutGenerated are the columns that COPY sends of a table when it is given none.
func (t *tracer) withoutGenerated(names []RelationName, all rows) rows {
	for _, n := range names {
		r, known := t.cat.Relation(n.Schema, n.Name)
		if !known {
			continue
		}
		out := rows{known: true}
		for _, c := range all.columns {
			if !r.Generated[c.name] {
				out.columns = append(out.columns, c)
			}
		}
		return out
	}
	return rows{rest: all.worst()}
}

// opaque notes a statement that could do anything with protected values.
func (t *tracer) opaque(tag string) {
	if t.launders == "" {
		t.launders = "columns of this database are masked, and what " + tag + " does with them cannot be seen"
	}
}

// defined judges the statements that are no queries: what they define or change must not become a way around
// the masking of a column by name.
func (t *tracer) defined(s *Statement) {
	for i := range s.Commands {
		if sql := s.Commands[i].SQL; sql != nil {
			t.works(sql.Tables)
		}
	}
	switch verb, kind, _ := strings.Cut(s.Tag, " "); {
	case s.Tag == "DO", verb == "CREATE" && definesCode[kind], verb == "ALTER" && definesCode[kind]:
		t.opaque(s.Tag)
	case keepsNames[s.Tag], verb == "DROP":
	default:
		t.kept(s.Tag, s.node.root)
		for i := range s.Commands {
			if sql := s.Commands[i].SQL; sql != nil {
				t.changed(s.Tag, sql.Tables, makesNew[sql.Command])
			}
		}
	}
}

// works notes that a statement which is no query (an index on an expression, a view that is filled anew) computes
// on relations.
func (t *tracer) works(tables []policy.Table) {
	for _, table := range tables {
		for _, n := range namesOf(table) {
			holds := t.mayHold(n)
			t.touches = t.touches || holds
		}
	}
}

// kept notes what computes in a definition (a default, a generated column, a check, a new type's USING): it runs
// later, in statements that do not show it.
func (t *tracer) kept(tag string, m proto.Message) {
	where := "what " + tag + " defines"
	switch n := m.(type) {
	case *pg_query.FuncCall:
		names, _ := stringsOf(n.Funcname)
		if _, name := relationOf(names); !computes(n) || t.own(OwnFunction, name) {
			t.launder(unproved("what function "+dotted(names...)+" returns"), where)
		} else if changingFunctions[name] && refersToColumn(n) {
			// A check of a domain is computed wherever a value is cast to it, of masked columns as well.
			t.launder(unproved("what function "+dotted(names...)+" is given"), where)
		}
	case *pg_query.A_Expr:
		t.launder(t.applied(n.Name, proved), where)
	case *pg_query.A_Indirection:
		t.launder(t.indirection(&pg_query.A_Indirection{Indirection: n.Indirection}, &scope{}), where)
		for _, i := range n.Indirection {
			if name := i.GetString_().GetSval(); changingFunctions[name] && n.Arg != nil && refersToColumn(unwrap(n.Arg)) {
				t.launder(unproved("what function "+name+" is given"), where)
			}
		}
	case *pg_query.TypeCast:
		names, _ := stringsOf(n.GetTypeName().GetNames())
		if _, name := relationOf(names); t.own(OwnCast, name) {
			t.launder(unproved("what a cast to "+dotted(names...)+" makes"), where)
		}
	}
	children(m, func(c proto.Message) { t.kept(tag, c) })
}

// refersToColumn tells whether an expression depends on a column, or on a domain's VALUE.
func refersToColumn(m proto.Message) bool {
	if _, ok := m.(*pg_query.ColumnRef); ok {
		return true
	}
	found := false
	children(m, func(c proto.Message) { found = found || refersToColumn(c) })
	return found
}

// definesCode are the kinds of objects that run code, or reach the database from outside, when another statement
// names them: a function that takes the name of a builtin, an operator, a trigger, a foreign table that leads back.
var definesCode = map[string]bool{
	"FUNCTION": true, "PROCEDURE": true, "ROUTINE": true, "AGGREGATE": true, "OPERATOR": true, "OPERATOR CLASS": true,
	"OPERATOR FAMILY": true, "CAST": true, "TRIGGER": true, "EVENT TRIGGER": true, "RULE": true, "TRANSFORM": true,
	"LANGUAGE": true, "EXTENSION": true, "CONVERSION": true, "ACCESS METHOD": true, "FOREIGN DATA WRAPPER": true,
	"SERVER": true, "FOREIGN TABLE": true, "USER MAPPING": true, "PUBLICATION": true, "SUBSCRIPTION": true,
}

// keepsNames are the commands that leave every column where it is and as it is called.
var keepsNames = map[string]bool{
	"TRUNCATE TABLE": true, "VACUUM": true, "ANALYZE": true, "REINDEX": true, "CLUSTER": true, "LOCK TABLE": true,
	"COMMENT": true, "SECURITY LABEL": true, "GRANT": true, "REVOKE": true, "CREATE INDEX": true, "CREATE STATISTICS": true,
	"REFRESH MATERIALIZED VIEW": true, "COPY FROM": true, "CHECKPOINT": true,
}

// makesNew are the commands whose target is a relation that is not there yet.
var makesNew = map[string]bool{"CREATE TABLE": true, "CREATE SEQUENCE": true, "CREATE SCHEMA": true, "CREATE TYPE": true}

// changed notes a definition that touches a relation with protected columns: renamed, moved or copied, the column
// would no longer be known by its name.
func (t *tracer) changed(tag string, tables []policy.Table, fresh bool) {
	for _, table := range tables {
		if fresh && table.Write {
			continue
		}
		for _, n := range namesOf(table) {
			if _, protected := t.p.Match(n.Schema, n.Name, ""); protected {
				t.redefined(tag, n)
				continue
			}
			if t.mayHold(n) {
				t.redefined(tag, n)
			}
		}
	}
}

// mayHold tells whether a relation may hold protected values, though the policies do not name it: it is a partition or a
// child of one that they name, or stands on one. What is changed in the transaction, or in the same string, is not known
// as it is now; what was known of it last is asked then. A relation that is new since holds none: making it of a
// relation that does is refused.
func (t *tracer) mayHold(n RelationName) bool {
	if t.cat != nil {
		if r, known := t.oneRelation(n); known {
			return r.worst().Proof != Clear
		}
	}
	last := t.st.Last
	if last == nil {
		return t.cat == nil
	}
	names := []RelationName{n}
	if n.Schema == "" {
		names = last.Named(n.Name)
	}
	before := &tracer{p: t.p, cat: last, st: t.st, views: make(map[RelationName]rows), inView: make(map[RelationName]bool), steps: t.steps}
	for _, n := range names {
		if r, known := before.oneRelation(n); known && r.worst().Proof != Clear {
			return true
		}
	}
	t.steps = before.steps
	t.touches = t.touches || before.touches
	return false
}

func (t *tracer) redefined(tag string, n RelationName) {
	if t.launders == "" {
		t.launders = tag + " would redefine " + dotted(n.Schema, n.Name) + ", of which columns are masked by name"
	}
}
