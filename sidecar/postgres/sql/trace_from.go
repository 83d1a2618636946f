package sql

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// from adds one item of a FROM clause to the scope. What stands before it in the clause is visible to a LATERAL
// item and to functions, to a plain subquery it is not.
func (t *tracer) from(m proto.Message, sc *scope) {
	t.step()
	switch n := m.(type) {
	case *pg_query.RangeVar:
		sc.tables = append(sc.tables, t.rangeVar(n, sc, false))
	case *pg_query.RangeSubselect:
		inner := &scope{outer: sc.outer, ctes: sc.ctes}
		if n.Lateral {
			inner.outer = sc
		}
		out := t.rowsOf(unwrap(n.Subquery), inner)
		sc.tables = append(sc.tables, &table{alias: n.GetAlias().GetAliasname(), rows: t.renamed(out, n.Alias)})
	case *pg_query.RangeFunction:
		sc.tables = append(sc.tables, &table{alias: functionAlias(n), value: true, rows: t.renamed(t.functionRows(n, sc), n.Alias)})
	case *pg_query.RangeTableSample:
		t.from(unwrap(n.Relation), sc)
		t.predicates(append(slices.Clone(n.Args), n.Repeatable), sc)
	case *pg_query.JoinExpr:
		t.join(n, sc)
	case *pg_query.RangeTableFunc:
		sc.tables = append(sc.tables, &table{alias: n.GetAlias().GetAliasname(), rows: t.opaqueRows(n, sc)})
	case *pg_query.JsonTable:
		sc.tables = append(sc.tables, &table{alias: n.GetAlias().GetAliasname(), rows: t.opaqueRows(n, sc)})
	default:
		sc.tables = append(sc.tables, &table{rows: rows{rest: unproved("an item of FROM that is not traced")}})
	}
}

// opaqueRows is XMLTABLE and JSON_TABLE: columns computed from their arguments.
func (t *tracer) opaqueRows(m proto.Message, sc *scope) rows {
	out := proved
	children(m, func(c proto.Message) {
		if _, alias := c.(*pg_query.Alias); !alias {
			out = worse(out, t.operand(c, sc))
		}
	})
	return rows{rest: computed(out)}
}

// rangeVar is a CTE, or a relation. The target of a data-modifying statement is never a CTE.
func (t *tracer) rangeVar(n *pg_query.RangeVar, sc *scope, target bool) *table {
	e := &table{alias: n.GetAlias().GetAliasname()}
	if e.alias == "" {
		e.alias = n.Relname
	}
	if !target && n.Schemaname == "" {
		if r, ok := sc.ctes.find(n.Relname); ok {
			e.rows = t.renamed(r, n.Alias)
			return e
		}
	}
	names := t.relationTables(n.Schemaname, n.Relname)
	if n.Alias == nil {
		e.names = names
	}
	e.relation = true
	r := t.relation(names)
	if n.Schemaname == "" && len(t.st.Earlier[n.Relname]) > 0 {
		r = t.orEarlier(r, n.Relname)
	}
	e.rows = t.renamed(r, n.Alias)
	return e
}

// renamed gives the first columns the names of an alias list.
func (t *tracer) renamed(r rows, alias *pg_query.Alias) rows {
	names, _ := stringsOf(alias.GetColnames())
	if len(names) == 0 {
		return r
	}
	if !r.known {
		// Which columns get which names cannot be told: every name could be any.
		return rows{rest: r.worst()}
	}
	if !t.copies(len(r.columns)) {
		return intricate
	}
	r.columns = slices.Clone(r.columns)
	for i := range min(len(names), len(r.columns)) {
		r.columns[i].name = names[i]
	}
	return r
}

// functionRows is a function in FROM, or several by ROWS FROM.
func (t *tracer) functionRows(n *pg_query.RangeFunction, sc *scope) rows {
	out := rows{known: true}
	for _, f := range n.Functions {
		items := f.GetList().GetItems()
		if len(items) == 0 {
			return rows{rest: unproved("a function in FROM that is not traced")}
		}
		var definitions []*pg_query.Node
		if len(items) > 1 {
			definitions = items[1].GetList().GetItems()
		}
		if len(definitions) == 0 && len(n.Functions) == 1 {
			definitions = n.Coldeflist
		}
		out = t.concatenated(out, t.functionColumns(items[0], definitions, n.Alias, sc))
	}
	if n.Ordinality {
		out = t.concatenated(out, rows{known: true, columns: []attribute{{"ordinality", proved}}})
	}
	return out
}

func (t *tracer) concatenated(a, b rows) rows {
	if !t.copies(len(a.columns) + len(b.columns)) {
		return intricate
	}
	if a.known && b.known {
		return rows{known: true, columns: slices.Concat(a.columns, b.columns)}
	}
	return rows{rest: mixed(a.worst(), b.worst())}
}

// pairs are the functions that return a row of key and value.
var pairs = words(`json_each json_each_text jsonb_each jsonb_each_text`)

// records are the pure functions whose columns depend on what they are given.
var records = words(`json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset
	json_to_record json_to_recordset jsonb_to_record jsonb_to_recordset`)

func (t *tracer) functionColumns(call *pg_query.Node, definitions []*pg_query.Node, alias *pg_query.Alias, sc *scope) rows {
	proof := computed(t.expr(unwrap(call), sc))
	if len(definitions) > 0 {
		out := rows{known: true}
		for _, d := range definitions {
			out.columns = append(out.columns, attribute{d.GetColumnDef().GetColname(), proof})
		}
		return out
	}
	f := call.GetFuncCall()
	names, _ := stringsOf(f.GetFuncname())
	_, name := relationOf(names)
	switch {
	case f == nil || !pureFunctions[name] || records[name]:
		return rows{rest: proof}
	case pairs[name]:
		return rows{known: true, columns: []attribute{{"key", proof}, {"value", proof}}}
	case name == "unnest" && len(f.Args) > 1:
		out := rows{known: true}
		for range f.Args {
			out.columns = append(out.columns, attribute{"", proof})
		}
		return out
	}
	// A scalar's column goes by the name of its output parameter, else by the alias or the function's name
	// (chooseScalarFunctionAlias in parse_relation.c).
	column := ""
	if unnamedResult[name] {
		if column = name; alias != nil {
			column = alias.Aliasname
		}
	}
	return rows{known: true, columns: []attribute{{column, proof}}}
}

// unnamedResult are functions without a named output parameter.
var unnamedResult = words(`generate_series generate_subscripts unnest regexp_split_to_table string_to_table`)

// join adds both sides of a join, and the join itself, which shows their columns: merged ones first, then the
// rest of the left and of the right side (transformFromClauseItem in parse_clause.c).
func (t *tracer) join(j *pg_query.JoinExpr, sc *scope) {
	before := len(sc.tables)
	t.from(unwrap(j.Larg), sc)
	middle := len(sc.tables)
	t.from(unwrap(j.Rarg), sc)
	left, right := t.visible(sc.tables[before:middle]), t.visible(sc.tables[middle:])
	on := &scope{tables: slices.Clone(sc.tables[before:]), outer: sc.outer, ctes: sc.ctes}
	if j.Quals != nil {
		t.predicate(unwrap(j.Quals), on)
	}
	using, _ := stringsOf(j.UsingClause)
	if j.IsNatural {
		if unnamed(left) || unnamed(right) {
			left.known, left.rest = false, left.worst()
		}
		using = common(left, right)
	}
	merged, all := t.merged(left, right, using)
	if j.IsNatural && (!left.known || !right.known) {
		t.infer(worse(left.worst(), right.worst()))
	}
	for _, e := range sc.tables[before:] {
		e.columnsHidden = true
		e.nameHidden = e.nameHidden || j.Alias != nil
	}
	sc.tables = append(sc.tables, &table{alias: j.GetAlias().GetAliasname(), rows: t.renamed(all, j.Alias)})
	if j.JoinUsingAlias != nil {
		sc.tables = append(sc.tables, &table{alias: j.JoinUsingAlias.Aliasname, rows: merged, columnsHidden: true})
	}
}

// visible is what the entries show to an unqualified name, in order.
func (t *tracer) visible(entries []*table) rows {
	known, n := true, 0
	for _, e := range entries {
		if !e.columnsHidden && !e.nameHidden {
			known, n = known && e.rows.known, n+len(e.rows.columns)
		}
	}
	if !t.copies(n) {
		return intricate
	}
	out := rows{known: true, columns: make([]attribute, 0, n)}
	worst := proved
	for _, e := range entries {
		switch {
		case e.columnsHidden || e.nameHidden:
		case known:
			out.columns = append(out.columns, e.rows.columns...)
		default:
			worst = mixed(worst, e.rows.worst())
		}
	}
	if !known {
		return rows{rest: worst}
	}
	return out
}

func unnamed(r rows) bool {
	return slices.ContainsFunc(r.columns, func(a attribute) bool { return a.name == "" })
}

// common are the names that both sides have, in the left one's order.
func common(left, right rows) []string {
	both := make(map[string]bool, len(right.columns))
	for _, r := range right.columns {
		both[r.name] = true
	}
	var out []string
	for _, l := range left.columns {
		if both[l.name] {
			both[l.name] = false
			out = append(out, l.name)
		}
	}
	return out
}

// merged joins two sides by columns of the same name, which the join compares.
func (t *tracer) merged(left, right rows, using []string) (merged, all rows) {
	worst := mixed(left.worst(), right.worst())
	if !t.copies(len(left.columns) + len(right.columns)) {
		return intricate, intricate
	}
	if !left.known || !right.known {
		if len(using) > 0 {
			t.infer(worst)
		}
		return rows{rest: worst}, rows{rest: worst}
	}
	merged.known, all.known = true, true
	joined := make(map[string]Column, len(using))
	for _, name := range using {
		joined[name] = proved
	}
	found := make(map[string]bool, len(using))
	anything := proved // columns whose names could be any
	for _, side := range [][]attribute{left.columns, right.columns} {
		for _, a := range side {
			if c, ok := joined[a.name]; ok {
				if !found[a.name] {
					c, found[a.name] = a.Column, true
				}
				joined[a.name] = mixed(c, a.Column)
			} else if a.name == "" {
				anything = worse(anything, a.Column)
			}
		}
	}
	for _, name := range using {
		c := joined[name]
		if anything.Proof != Clear {
			c = mixed(c, anything)
		}
		t.infer(c)
		merged.columns = append(merged.columns, attribute{name, c})
	}
	all.columns = slices.Clone(merged.columns)
	for _, side := range [][]attribute{left.columns, right.columns} {
		for _, a := range side {
			if _, ok := joined[a.name]; !ok {
				all.columns = append(all.columns, a)
			}
		}
	}
	return merged, all
}
