package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// with enters a WITH clause: its queries are walked, its names become visible. A query of a WITH sees the names
// before it, and with RECURSIVE all of them.
func (r *recogniser) with(w *pg_query.WithClause, at place) *cteScope {
	if w == nil {
		return at.ctes
	}
	scope := &cteScope{names: make(map[string]bool), outer: at.ctes}
	if w.Recursive {
		for _, n := range w.Ctes {
			scope.names[n.GetCommonTableExpr().GetCtename()] = true
		}
	}
	for _, n := range w.Ctes {
		c := n.GetCommonTableExpr()
		inner := at
		inner.ctes = scope
		r.node(unwrap(c.GetCtequery()), inner)
		if c.GetSearchClause() != nil || c.GetCycleClause() != nil {
			children(c, func(m proto.Message) {
				switch m.(type) {
				case *pg_query.CTESearchClause, *pg_query.CTECycleClause:
					r.node(m, inner)
				}
			})
		}
		if !w.Recursive {
			// A new scope for every name: the query above keeps the one that it saw.
			next := &cteScope{names: map[string]bool{c.GetCtename(): true}, outer: scope}
			scope = next
		}
	}
	return scope
}

// query walks a SELECT, VALUES, TABLE or set operation.
func (r *recogniser) query(s *pg_query.SelectStmt, at place) {
	if s == nil {
		return
	}
	at.ctes = r.with(s.WithClause, at)
	if s.Op != pg_query.SetOperation_SETOP_NONE && s.Op != pg_query.SetOperation_SET_OPERATION_UNDEFINED {
		r.query(s.Larg, at)
		r.query(s.Rarg, at)
	}
	inner := at
	inner.names = &nameScope{outer: at.names}
	for _, n := range s.FromClause {
		r.from(unwrap(n), inner)
	}
	r.literal = r.literal || byNumber(s.SortClause) || byNumber(s.GroupClause) || byNumber(s.DistinctClause)
	if len(s.LockingClause) > 0 {
		at.b.writes()
	}
	if s.IntoClause != nil && !at.into {
		// Only the leftmost query of a statement may have INTO; the server refuses any other, and so its table
		// is noted without more.
		r.touch(at.b, r.st.created(s.IntoClause.Rel), true)
		at.b.writes()
	}
	lists := [][]*pg_query.Node{s.DistinctClause, s.TargetList, {s.WhereClause}, s.GroupClause, {s.HavingClause},
		s.WindowClause, s.ValuesLists, s.SortClause, {s.LimitOffset}, {s.LimitCount}}
	for _, list := range lists {
		r.nodes(list, inner)
	}
}

func (r *recogniser) nodes(list []*pg_query.Node, at place) {
	for _, n := range list {
		if n != nil {
			r.node(unwrap(n), at)
		}
	}
}

// from walks one item of a FROM clause and adds what it makes visible to at.names.
func (r *recogniser) from(m proto.Message, at place) {
	switch n := m.(type) {
	case *pg_query.RangeVar:
		r.relation(n, at, false)
	case *pg_query.RangeSubselect:
		r.node(unwrap(n.Subquery), at)
		at.names.add(n.GetAlias().GetAliasname(), nil)
	case *pg_query.RangeFunction:
		r.nodes(n.Functions, at)
		r.nodes(n.Coldeflist, at)
		at.names.relations = append(at.names.relations, functionSource(n))
	case *pg_query.RangeTableFunc:
		children(n, func(c proto.Message) { r.node(c, at) })
		at.names.add(n.GetAlias().GetAliasname(), nil)
	case *pg_query.JsonTable:
		children(n, func(c proto.Message) { r.node(c, at) })
		at.names.add(n.GetAlias().GetAliasname(), nil)
	case *pg_query.RangeTableSample:
		r.from(unwrap(n.Relation), at)
		r.nodes(n.Args, at)
		r.nodes([]*pg_query.Node{n.Repeatable}, at)
	case *pg_query.JoinExpr:
		r.join(n, at)
	default:
		r.node(m, at)
		at.names.add("", nil)
	}
}

// functionSource is a function in FROM, with the columns that it is known to have.
func functionSource(n *pg_query.RangeFunction) source {
	s := source{alias: functionAlias(n), value: true}
	if n.GetAlias() != nil {
		s.fields, _ = stringsOf(n.Alias.Colnames)
	}
	s.fields = append(s.fields, s.alias, "ordinality")
	definitions := n.Coldeflist
	for _, f := range n.Functions {
		items := f.GetList().GetItems()
		if len(items) > 1 {
			definitions = append(definitions[:len(definitions):len(definitions)], items[1].GetList().GetItems()...)
		}
		if len(items) > 0 {
			names, _ := stringsOf(items[0].GetFuncCall().GetFuncname())
			if _, name := relationOf(names); pairs[name] {
				s.fields = append(s.fields, "key", "value")
			}
		}
	}
	for _, d := range definitions {
		s.fields = append(s.fields, d.GetColumnDef().GetColname())
	}
	return s
}

// functionAlias is the name of a function in FROM: its alias, or its own.
func functionAlias(n *pg_query.RangeFunction) string {
	if n.Alias != nil {
		return n.Alias.Aliasname
	}
	if len(n.Functions) > 0 {
		// ROWS FROM: a list of lists, each a call and its column definitions.
		if items := n.Functions[0].GetList().GetItems(); len(items) > 0 {
			if call := items[0].GetFuncCall(); call != nil {
				if names, ok := stringsOf(call.Funcname); ok && len(names) > 0 {
					return names[len(names)-1]
				}
			}
		}
	}
	return ""
}

func (r *recogniser) join(j *pg_query.JoinExpr, at place) {
	before := len(at.names.relations)
	r.from(unwrap(j.Larg), at)
	r.from(unwrap(j.Rarg), at)
	joined := r.tablesOf(at.names.relations[before:])
	using, _ := stringsOf(j.UsingClause)
	for _, column := range using {
		at.addColumns(joined, column)
	}
	if j.IsNatural {
		at.addColumns(joined, "")
	}
	r.nodes([]*pg_query.Node{j.Quals}, at)
	if j.Alias != nil {
		at.names.add(j.Alias.Aliasname, joined)
	}
	if j.JoinUsingAlias != nil {
		at.names.add(j.JoinUsingAlias.Aliasname, joined)
	}
}

// tablesOf are the tables behind sources, each once: a join that has an alias stands beside what it joins.
func (r *recogniser) tablesOf(sources []source) []RelationName {
	var out []RelationName
	seen := make(map[RelationName]bool)
	for _, s := range sources {
		if !r.effort.look(1 + len(s.tables)) {
			break
		}
		for _, t := range s.tables {
			if !seen[t] {
				seen[t] = true
				out = append(out, t)
			}
		}
	}
	return out
}

// relation notes a table and makes its columns visible, or does the latter for a CTE.
func (r *recogniser) relation(rv *pg_query.RangeVar, at place, write bool) policy.Table {
	alias := rv.GetAlias().GetAliasname()
	if alias == "" {
		alias = rv.Relname
	}
	if !write && rv.Schemaname == "" && at.ctes.has(rv.Relname, &r.effort) {
		at.names.add(alias, nil)
		return policy.Table{}
	}
	t := r.st.table(rv.Schemaname, rv.Relname)
	r.touch(at.b, t, write)
	at.names.add(alias, namesOf(t))
	return t
}

// byNumber reports whether a list of ORDER BY, GROUP BY or DISTINCT ON may name an output column by its number.
func byNumber(list []*pg_query.Node) bool {
	for _, n := range list {
		switch x := n.GetNode().(type) {
		case *pg_query.Node_AConst:
			return true
		case *pg_query.Node_SortBy:
			if x.SortBy.GetNode().GetAConst() != nil {
				return true
			}
		case *pg_query.Node_GroupingSet:
			if byNumber(x.GroupingSet.GetContent()) {
				return true
			}
		}
	}
	return false
}
