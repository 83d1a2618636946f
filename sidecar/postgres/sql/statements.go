package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// statement opens the command of a statement and walks it.
func (r *recogniser) statement(m proto.Message, at place) {
	switch n := m.(type) {
	case *pg_query.ExplainStmt:
		r.explain(n, at)
		return
	case *pg_query.PrepareStmt:
		at.via = at.through("PREPARE")
		r.statement(unwrap(n.Query), at)
		return
	case *pg_query.DeclareCursorStmt:
		at.via = at.through("DECLARE CURSOR")
		r.statement(unwrap(n.Query), at)
		return
	case *pg_query.SelectStmt:
		r.top(n, at)
		return
	}
	at.b = r.begin(tagOf(m), at.via)
	at.names = nil
	switch n := m.(type) {
	case *pg_query.InsertStmt:
		r.insert(n, at)
	case *pg_query.UpdateStmt:
		r.update(n, at)
	case *pg_query.DeleteStmt:
		r.delete(n, at)
	case *pg_query.MergeStmt:
		r.merge(n, at)
	case *pg_query.CopyStmt:
		r.copy(n, at)
	case *pg_query.CreateTableAsStmt:
		r.touch(at.b, r.st.created(n.Into.GetRel()), true)
		r.node(unwrap(n.Query), at)
	case *pg_query.ViewStmt:
		r.touch(at.b, r.st.created(n.View), true)
		r.node(unwrap(n.Query), at)
	case *pg_query.RuleStmt:
		r.rule(n, at)
	case *pg_query.CreateSchemaStmt:
		r.schema(n, at)
	case *pg_query.VariableSetStmt:
		r.set(n, at.b)
	default:
		r.utility(m, at)
	}
}

// explain is judged as what it explains. Without ANALYZE that does not run.
func (r *recogniser) explain(n *pg_query.ExplainStmt, at place) {
	at.via = at.through("EXPLAIN")
	before := len(r.built)
	r.statement(unwrap(n.Query), at)
	if analyzes(n) {
		return
	}
	for _, b := range r.built[before:] {
		b.sql.ReadOnly = true
	}
}

// analyzes reports whether EXPLAIN runs the statement; an option that cannot be read does.
func analyzes(n *pg_query.ExplainStmt) bool {
	for _, o := range n.Options {
		d := o.GetDefElem()
		if d == nil || d.Defname == "analyze" && !isFalse(d.Arg) {
			return true
		}
	}
	return false
}

// top walks a query that is a statement of its own. With INTO it is a CREATE TABLE AS.
func (r *recogniser) top(n *pg_query.SelectStmt, at place) {
	if into := leftmost(n).IntoClause; into != nil {
		outer := r.begin("CREATE TABLE AS", at.via)
		r.touch(outer, r.st.created(into.Rel), true)
		at.via = at.through("CREATE TABLE AS")
		at.into = true
		at.b = r.begin("SELECT", at.via)
		at.b.outer = outer
	} else {
		at.b = r.begin(selectTag(n), at.via)
	}
	at.b.sql.ReadOnly = true
	r.query(n, at)
}

// leftmost is the first query of a set operation, the one that INTO belongs to.
func leftmost(n *pg_query.SelectStmt) *pg_query.SelectStmt {
	for n.Larg != nil {
		n = n.Larg
	}
	return n
}

func (r *recogniser) rule(n *pg_query.RuleStmt, at place) {
	at.names = &nameScope{}
	table := r.relation(n.Relation, at, true)
	at.names.add("new", namesOf(table))
	at.names.add("old", namesOf(table))
	r.nodes([]*pg_query.Node{n.WhereClause}, at)
	at.via = at.through("CREATE RULE")
	for _, a := range n.Actions {
		inner := at
		r.statement(unwrap(a), inner)
	}
}

// schema walks CREATE SCHEMA with what it makes at once: unqualified names in it are the new schema's.
func (r *recogniser) schema(n *pg_query.CreateSchemaStmt, at place) {
	name := n.Schemaname
	if name == "" {
		name = n.Authrole.GetRolename()
	}
	r.touch(at.b, policy.Table{Schema: name, Name: policy.Unknown}, true)
	inner := recogniser{st: r.st}
	inner.st.SearchPath = append([]string{name}, r.st.SearchPath...)
	at.via = at.through("CREATE SCHEMA")
	for _, e := range n.SchemaElts {
		inner.statement(unwrap(e), at)
	}
	r.built = append(r.built, inner.built...)
}

// isFalse reports whether an option's value is a literal false.
func isFalse(n *pg_query.Node) bool {
	switch v, ok := constant(n); {
	case n == nil || !ok:
		return false
	default:
		b, known := parseBool(v)
		return known && !b
	}
}
