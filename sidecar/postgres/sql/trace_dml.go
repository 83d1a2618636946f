package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// target is the entry of the table that a statement changes.
func (t *tracer) target(rv *pg_query.RangeVar, sc *scope) *table {
	e := t.rangeVar(rv, sc, true)
	sc.tables = append(sc.tables, e)
	return e
}

// stored traces values that a statement puts into a table.
func (t *tracer) stored(list []*pg_query.Node, into *pg_query.RangeVar, sc *scope) {
	for _, n := range list {
		val := n
		if res := n.GetResTarget(); res != nil {
			t.predicates(res.Indirection, sc)
			val = res.Val
		}
		if val == nil {
			continue
		}
		t.launder(t.expr(unwrap(val), sc), "table "+into.GetRelname())
	}
}

func (t *tracer) insert(s *pg_query.InsertStmt, sc *scope) rows {
	t.with(s.WithClause, sc)
	source := rows{known: true}
	if s.SelectStmt != nil {
		source = t.rowsOf(unwrap(s.SelectStmt), &scope{outer: sc.outer, ctes: sc.ctes})
	}
	t.launder(source.worst(), "table "+s.GetRelation().GetRelname())
	inner := &scope{outer: sc.outer, ctes: sc.ctes}
	into := t.target(s.Relation, inner)
	for _, c := range s.Cols {
		t.predicates(c.GetResTarget().GetIndirection(), inner)
	}
	if c := s.OnConflictClause; c != nil {
		proposed := rows{known: into.rows.known, rest: proved}
		for _, a := range into.rows.columns {
			proposed.columns = append(proposed.columns, attribute{a.name, proved})
		}
		conflict := &scope{tables: append([]*table{{alias: "excluded", rows: proposed}}, inner.tables...), outer: inner.outer, ctes: inner.ctes}
		t.conflicts(c.Infer, s.Cols, into, inner)
		t.stored(c.TargetList, s.Relation, conflict)
		t.predicates([]*pg_query.Node{c.WhereClause}, conflict)
	}
	return t.targets(s.ReturningList, inner)
}

// conflicts notes what ON CONFLICT tells, by the rows that it leaves: whether a value is there already. Without an
// inference clause any column that is given a value may be the one that has to be unique.
func (t *tracer) conflicts(i *pg_query.InferClause, given []*pg_query.Node, into *table, sc *scope) {
	if i == nil || i.Conname != "" {
		if len(given) == 0 {
			t.infer(into.rows.worst())
		}
		for _, c := range given {
			t.infer(into.column(c.GetResTarget().GetName()))
		}
		return
	}
	for _, e := range i.IndexElems {
		switch x := e.GetIndexElem(); {
		case x.GetExpr() != nil:
			t.predicate(unwrap(x.Expr), sc)
		default:
			t.infer(into.column(x.GetName()))
		}
	}
	t.predicates([]*pg_query.Node{i.WhereClause}, sc)
}

func (t *tracer) update(s *pg_query.UpdateStmt, sc *scope) rows {
	t.with(s.WithClause, sc)
	inner := &scope{outer: sc.outer, ctes: sc.ctes}
	t.target(s.Relation, inner)
	for _, n := range s.FromClause {
		t.from(unwrap(n), inner)
	}
	t.stored(s.TargetList, s.Relation, inner)
	t.predicates([]*pg_query.Node{s.WhereClause}, inner)
	return t.targets(s.ReturningList, inner)
}

func (t *tracer) delete(s *pg_query.DeleteStmt, sc *scope) rows {
	t.with(s.WithClause, sc)
	inner := &scope{outer: sc.outer, ctes: sc.ctes}
	t.target(s.Relation, inner)
	for _, n := range s.UsingClause {
		t.from(unwrap(n), inner)
	}
	t.predicates([]*pg_query.Node{s.WhereClause}, inner)
	return t.targets(s.ReturningList, inner)
}

func (t *tracer) merge(s *pg_query.MergeStmt, sc *scope) rows {
	t.with(s.WithClause, sc)
	inner := &scope{outer: sc.outer, ctes: sc.ctes}
	t.target(s.Relation, inner)
	t.from(unwrap(s.SourceRelation), inner)
	t.predicates([]*pg_query.Node{s.JoinCondition}, inner)
	for _, n := range s.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		t.predicates([]*pg_query.Node{w.GetCondition()}, inner)
		t.stored(w.GetTargetList(), s.Relation, inner)
		t.stored(w.GetValues(), s.Relation, inner)
	}
	out := t.targets(s.ReturningList, inner)
	for _, n := range s.ReturningList {
		if ref := n.GetResTarget().GetVal().GetColumnRef(); ref != nil {
			if fields, star := columnFields(ref); star && len(fields) == 0 {
				// Whether source or target columns come first is not the same in every server.
				return rows{rest: out.worst()}
			}
		}
	}
	return out
}
