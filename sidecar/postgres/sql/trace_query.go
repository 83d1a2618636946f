package sql

import (
	"fmt"
	"slices"
	"strconv"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// rowsOf traces whatever can stand in a WITH, in FROM or in an expression as a query.
func (t *tracer) rowsOf(m proto.Message, sc *scope) rows {
	switch n := m.(type) {
	case *pg_query.SelectStmt:
		return t.query(n, sc)
	case *pg_query.InsertStmt:
		return t.insert(n, sc)
	case *pg_query.UpdateStmt:
		return t.update(n, sc)
	case *pg_query.DeleteStmt:
		return t.delete(n, sc)
	case *pg_query.MergeStmt:
		return t.merge(n, sc)
	}
	return rows{rest: unproved("a query that is not traced")}
}

// query traces a query; sc is an empty scope of its own, around it what encloses the query.
func (t *tracer) query(s *pg_query.SelectStmt, sc *scope) rows {
	if s == nil || !t.step() {
		return rows{rest: unproved("the statement is too intricate to trace")}
	}
	t.with(s.WithClause, sc)
	var out rows
	switch {
	case s.Op != pg_query.SetOperation_SETOP_NONE && s.Op != pg_query.SetOperation_SET_OPERATION_UNDEFINED:
		out = t.setOperation(s, sc)
	case len(s.ValuesLists) > 0:
		out = t.values(s, sc)
	default:
		out = t.plain(s, sc)
	}
	t.sorted(s.SortClause, out, sc)
	t.predicates([]*pg_query.Node{s.LimitCount, s.LimitOffset}, sc)
	return out
}

func (t *tracer) plain(s *pg_query.SelectStmt, sc *scope) rows {
	for _, n := range s.FromClause {
		t.from(unwrap(n), sc)
	}
	t.predicates([]*pg_query.Node{s.WhereClause, s.HavingClause}, sc)
	out := t.targets(s.TargetList, sc)
	t.grouped(s.GroupClause, out, sc)
	t.predicates(s.WindowClause, sc)
	if len(s.DistinctClause) > 0 {
		// Plain DISTINCT is a list of one empty node: it compares every column.
		if len(s.DistinctClause) == 1 && s.DistinctClause[0].GetNode() == nil {
			t.infer(out.worst())
		} else {
			t.grouped(s.DistinctClause, out, sc)
		}
	}
	return out
}

// targets traces an output list.
func (t *tracer) targets(list []*pg_query.Node, sc *scope) rows {
	out := rows{known: true}
	for _, n := range list {
		target := n.GetResTarget()
		if target == nil || target.Val == nil {
			return rows{rest: worse(out.worst(), unproved("an output column that is not traced"))}
		}
		val := unwrap(target.Val)
		if ref, ok := val.(*pg_query.ColumnRef); ok {
			if fields, star := columnFields(ref); star {
				out = t.concatenated(out, t.star(fields, sc))
				continue
			}
		}
		if ind, ok := val.(*pg_query.A_Indirection); ok && len(ind.Indirection) > 0 && ind.Indirection[len(ind.Indirection)-1].GetAStar() != nil {
			// (row).* has as many columns as its type.
			out = t.concatenated(out, rows{rest: t.expr(val, sc)})
			continue
		}
		name := target.Name
		if name == "" {
			name = outputName(val)
		}
		c := t.expr(val, sc)
		if out.known {
			out.columns = append(out.columns, attribute{name, c})
		} else {
			out.rest = mixed(out.rest, c)
		}
	}
	return out
}

// values traces a VALUES list.
func (t *tracer) values(s *pg_query.SelectStmt, sc *scope) rows {
	out := rows{known: true}
	for i, n := range s.ValuesLists {
		items := n.GetList().GetItems()
		for j, item := range items {
			c := t.expr(unwrap(item), sc)
			if i == 0 {
				out.columns = append(out.columns, attribute{"column" + strconv.Itoa(j+1), c})
			} else if j < len(out.columns) {
				out.columns[j].Column = mixed(out.columns[j].Column, c)
			}
		}
	}
	return out
}

// setOperation combines two queries column by column. All but UNION ALL compare the rows of both.
func (t *tracer) setOperation(s *pg_query.SelectStmt, sc *scope) rows {
	left := t.query(s.Larg, &scope{outer: sc.outer, ctes: sc.ctes})
	right := t.query(s.Rarg, &scope{outer: sc.outer, ctes: sc.ctes})
	if s.Op != pg_query.SetOperation_SETOP_UNION || !s.All {
		t.infer(left.worst())
		t.infer(right.worst())
	}
	return union(left, right)
}

func union(left, right rows) rows {
	if !left.known || !right.known || len(left.columns) != len(right.columns) {
		return rows{rest: mixed(left.worst(), right.worst())}
	}
	out := rows{known: true, columns: slices.Clone(left.columns)}
	for i := range out.columns {
		out.columns[i].Column = mixed(out.columns[i].Column, right.columns[i].Column)
	}
	return out
}

// sorted traces ORDER BY, whose items may be output columns by number or by name.
func (t *tracer) sorted(list []*pg_query.Node, out rows, sc *scope) {
	for _, n := range list {
		item := n
		if s := n.GetSortBy(); s != nil {
			item = s.Node
		}
		t.steps += len(out.columns) / scanned
		if using := n.GetSortBy().GetUseOp(); len(using) > 0 {
			t.infer(t.applied(using, proved))
		}
		if c, ok := output(item, out); ok {
			t.infer(c)
			continue
		}
		if item != nil {
			t.predicate(unwrap(item), sc)
		}
	}
}

// grouped traces GROUP BY and DISTINCT ON: a name is an input column first, but may be an output column.
func (t *tracer) grouped(list []*pg_query.Node, out rows, sc *scope) {
	for _, n := range list {
		if n == nil {
			continue
		}
		if set := n.GetGroupingSet(); set != nil {
			t.grouped(set.Content, out, sc)
			continue
		}
		t.steps += len(out.columns) / scanned
		c, ok := output(n, out)
		if ok && n.GetColumnRef() == nil {
			t.infer(c)
			continue
		}
		in := t.expr(unwrap(n), sc)
		if ok && in.Proof != Clear && !t.exists(n, sc) {
			in = c
		}
		t.infer(in)
	}
}

// exists reports whether a name is known as an input column.
func (t *tracer) exists(n *pg_query.Node, sc *scope) bool {
	fields, _ := columnFields(n.GetColumnRef())
	if len(fields) != 1 {
		return true
	}
	for _, e := range sc.tables {
		if !e.rows.known {
			return true
		}
		t.steps += len(e.rows.columns) / scanned
		for _, a := range e.rows.columns {
			if a.name == fields[0] || a.name == "" {
				return true
			}
		}
	}
	return false
}

// output finds the output column that an item of ORDER BY or GROUP BY names by number or by name.
func output(n *pg_query.Node, out rows) (Column, bool) {
	if n == nil {
		return Column{}, false
	}
	if c := n.GetAConst(); c != nil && c.GetIval() != nil {
		i := int(c.GetIval().Ival) - 1
		if !out.known {
			return out.rest, true
		}
		if i >= 0 && i < len(out.columns) {
			return out.columns[i].Column, true
		}
		return Column{}, false
	}
	ref := n.GetColumnRef()
	if ref == nil {
		return Column{}, false
	}
	fields, star := columnFields(ref)
	if star || len(fields) != 1 {
		return Column{}, false
	}
	c, found := proved, false
	for _, a := range out.columns {
		if a.name == fields[0] {
			c, found = worse(c, a.Column), true
		}
	}
	if !out.known {
		return out.rest, true
	}
	return c, found
}

// with traces the queries of a WITH clause and makes their results known by name.
func (t *tracer) with(w *pg_query.WithClause, sc *scope) {
	if w == nil {
		return
	}
	if w.Recursive {
		// A query may refer to one that comes later: until that is traced it could be anything.
		for _, n := range slices.Backward(w.Ctes) {
			name := n.GetCommonTableExpr().GetCtename()
			sc.ctes = &cteRows{name, rows{rest: unproved("query " + name + " is used before it is defined")}, sc.ctes}
		}
	}
	for _, n := range w.Ctes {
		c := n.GetCommonTableExpr()
		if c == nil {
			continue
		}
		var out rows
		if s := c.Ctequery.GetSelectStmt(); w.Recursive && s != nil && s.Larg != nil {
			out = t.recursive(c, s, sc)
		} else {
			out = t.rowsOf(unwrap(c.Ctequery), &scope{outer: sc.outer, ctes: sc.ctes})
		}
		sc.ctes = &cteRows{c.Ctename, t.cte(c, out), sc.ctes}
	}
}

// cte gives a WITH query's result its column names. SEARCH and CYCLE add columns, which hold values of others.
func (t *tracer) cte(c *pg_query.CommonTableExpr, out rows) rows {
	out = t.renamed(out, &pg_query.Alias{Colnames: c.Aliascolnames})
	if c.SearchClause != nil || c.CycleClause != nil {
		t.infer(out.worst())
		return rows{rest: computed(out.worst())}
	}
	return out
}

// recursive traces a recursive query until what it says of itself no longer changes: each round can only make a
// column worse, and a column has three states.
func (t *tracer) recursive(c *pg_query.CommonTableExpr, s *pg_query.SelectStmt, sc *scope) rows {
	inner := &scope{outer: sc.outer, ctes: sc.ctes}
	t.with(s.WithClause, inner)
	out := t.query(s.Larg, &scope{outer: sc.outer, ctes: inner.ctes})
	for range 2*len(out.columns) + 3 {
		self := &cteRows{c.Ctename, t.renamed(out, &pg_query.Alias{Colnames: c.Aliascolnames}), inner.ctes}
		next := union(out, t.query(s.Rarg, &scope{outer: sc.outer, ctes: self}))
		if s.Op != pg_query.SetOperation_SETOP_UNION || !s.All {
			t.infer(next.worst())
		}
		if sameRows(out, next) {
			// The server allows these where the query does not refer to itself after all.
			rest := &scope{outer: sc.outer, ctes: self}
			t.sorted(s.SortClause, next, rest)
			t.predicates([]*pg_query.Node{s.LimitCount, s.LimitOffset}, rest)
			return next
		}
		if t.exhausted() {
			break
		}
		out = next
	}
	return rows{rest: unproved(fmt.Sprintf("recursive query %s could not be traced", c.Ctename))}
}

func sameRows(a, b rows) bool {
	if a.known != b.known || len(a.columns) != len(b.columns) || a.rest.Proof != b.rest.Proof || a.rest.Row != b.rest.Row || a.rest.Mixed != b.rest.Mixed {
		return false
	}
	for i := range a.columns {
		if a.columns[i].Proof != b.columns[i].Proof || a.columns[i].Row != b.columns[i].Row || a.columns[i].Mixed != b.columns[i].Mixed {
			return false
		}
	}
	return true
}
