package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// expr is what the value of an expression could be. A bare column keeps its mask; whatever is computed of a
// column that is not clear is replaced as a whole, and counts as a use outside plain output.
func (t *tracer) expr(m proto.Message, sc *scope) Column {
	if !t.step() {
		return unproved("the statement is too intricate to trace")
	}
	switch n := m.(type) {
	case *pg_query.A_Const, *pg_query.ParamRef, *pg_query.SQLValueFunction, *pg_query.SetToDefault, *pg_query.CurrentOfExpr,
		*pg_query.String, *pg_query.Integer, *pg_query.Float, *pg_query.Boolean, *pg_query.BitString, *pg_query.TypeName,
		*pg_query.MergeSupportFunc:
		return proved
	case *pg_query.ColumnRef:
		return t.column(n, sc)
	case *pg_query.TypeCast:
		return t.cast(n, sc)
	case *pg_query.CollateClause:
		return t.expr(unwrap(n.Arg), sc)
	case *pg_query.FuncCall:
		return t.call(n, sc)
	case *pg_query.SubLink:
		return t.subquery(n, sc)
	case *pg_query.A_Expr:
		return t.operator(n, sc)
	case *pg_query.A_Indirection:
		return t.indirection(n, sc)
	case *pg_query.SortBy:
		return computed(worse(t.applied(n.UseOp, proved), t.operand(unwrap(n.Node), sc)))
	case *pg_query.SelectStmt:
		out := t.query(n, &scope{outer: sc, ctes: sc.ctes}).worst()
		t.infer(out)
		return computed(out)
	case *pg_query.BoolExpr, *pg_query.NullTest, *pg_query.BooleanTest, *pg_query.CaseExpr, *pg_query.CaseWhen,
		*pg_query.CoalesceExpr, *pg_query.MinMaxExpr, *pg_query.RowExpr, *pg_query.A_ArrayExpr,
		*pg_query.A_Indices, *pg_query.GroupingFunc, *pg_query.NamedArgExpr, *pg_query.XmlExpr, *pg_query.XmlSerialize,
		*pg_query.List, *pg_query.ResTarget, *pg_query.WindowDef, *pg_query.MultiAssignRef,
		*pg_query.GroupingSet, *pg_query.A_Star,
		*pg_query.JsonFormat, *pg_query.JsonValueExpr, *pg_query.JsonIsPredicate, *pg_query.JsonBehavior,
		*pg_query.JsonOutput, *pg_query.JsonArgument, *pg_query.JsonFuncExpr, *pg_query.JsonKeyValue, *pg_query.JsonReturning,
		*pg_query.JsonParseExpr, *pg_query.JsonScalarExpr, *pg_query.JsonSerializeExpr, *pg_query.JsonObjectConstructor,
		*pg_query.JsonArrayConstructor, *pg_query.JsonArrayQueryConstructor, *pg_query.JsonAggConstructor,
		*pg_query.JsonObjectAgg, *pg_query.JsonArrayAgg, *pg_query.JsonTableColumn, *pg_query.JsonTablePathSpec,
		*pg_query.RangeTableFuncCol:
		return t.computedOf(m, sc)
	}
	out := t.computedOf(m, sc)
	if out.Proof == Clear {
		out = unproved("an expression that is not traced")
	}
	return out
}

// own tells whether what a name of the server's runs may be code of the database. Where one of its casts could be
// applied anywhere, anything may.
func (t *tracer) own(kind Own, name string) bool {
	return t.cat == nil || t.cat.Own(kind, name) || t.cat.Own(OwnImplicit, "")
}

// computedOf is an expression over all that stands below it.
func (t *tracer) computedOf(m proto.Message, sc *scope) Column {
	out := proved
	children(m, func(c proto.Message) {
		out = worse(out, t.operand(c, sc))
	})
	return computed(out)
}

// operand is part of a computation.
func (t *tracer) operand(m proto.Message, sc *scope) Column {
	out := t.expr(m, sc)
	t.infer(out)
	return out
}

// predicate is an expression that decides which rows come, or in what order.
func (t *tracer) predicate(m proto.Message, sc *scope) { t.operand(m, sc) }

func (t *tracer) predicates(list []*pg_query.Node, sc *scope) {
	for _, n := range list {
		if n != nil {
			t.predicate(unwrap(n), sc)
		}
	}
}

// column resolves a reference; with a star it is a whole row.
func (t *tracer) column(n *pg_query.ColumnRef, sc *scope) Column {
	fields, star := columnFields(n)
	if !star {
		if len(fields) == 0 {
			return unproved("a column reference that is not traced")
		}
		return t.resolve(fields, sc)
	}
	return t.star(fields, sc).whole()
}

// star is the columns that `*` or `alias.*` stands for.
func (t *tracer) star(qualifier []string, sc *scope) rows {
	if len(qualifier) == 0 {
		return t.visible(sc.tables)
	}
	schema, name := relationOf(qualifier)
	for s := sc; s != nil; s = s.outer {
		var found []*table
		t.steps += len(s.tables) / scanned
		for _, e := range s.tables {
			if e.named(schema, name) {
				found = append(found, e)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0].rows
		default:
			worst := proved
			for _, e := range found {
				worst = worse(worst, e.rows.worst())
			}
			return rows{rest: worst}
		}
	}
	return rows{rest: unproved(dotted(append(qualifier, "*")...) + " is not known")}
}

// cast keeps the mask where it only turns a value into text.
func (t *tracer) cast(n *pg_query.TypeCast, sc *scope) Column {
	out := t.expr(unwrap(n.Arg), sc)
	names, _ := stringsOf(n.GetTypeName().GetNames())
	schema, name := relationOf(names)
	plain := len(n.GetTypeName().GetTypmods()) == 0 && len(n.GetTypeName().GetArrayBounds()) == 0 &&
		(schema == "" || schema == schemaCatalog) && (name == "text" || name == "varchar")
	if out.Proof == Masked && plain {
		return out
	}
	if out.Proof == Clear && t.own(OwnCast, name) {
		t.impure = true
		return unproved("a cast to " + dotted(names...) + " is not known to compute from its operand alone")
	}
	t.infer(out)
	return computed(out)
}

// operator is an operator expression. One that is not the server's own may be anything.
func (t *tracer) operator(n *pg_query.A_Expr, sc *scope) Column {
	out := proved
	for _, side := range []*pg_query.Node{n.Lexpr, n.Rexpr} {
		if side != nil {
			out = worse(out, t.operand(unwrap(side), sc))
		}
	}
	return computed(t.applied(n.Name, out))
}

// applied is what an operator makes of its operands.
func (t *tracer) applied(operator []*pg_query.Node, operands Column) Column {
	names, _ := stringsOf(operator)
	if schema, name := relationOf(names); name != "" && operands.Proof == Clear && (!knownOperator(schema, name) || t.own(OwnOperator, name)) {
		t.impure = true
		return unproved("operator " + dotted(names...) + " is not known to compute from its operands alone")
	}
	return operands
}

// call is a function call.
func (t *tracer) call(n *pg_query.FuncCall, sc *scope) Column {
	names, _ := stringsOf(n.Funcname)
	schema, name := relationOf(names)
	builtin := isBuiltin(schema, name) && !t.own(OwnFunction, name)
	out := proved
	for _, list := range [][]*pg_query.Node{n.Args, n.AggOrder, {n.AggFilter}} {
		for _, a := range list {
			if a != nil {
				out = worse(out, t.operand(unwrap(a), sc))
			}
		}
	}
	if n.Over != nil {
		out = worse(out, t.operand(n.Over, sc))
	}
	switch {
	case builtin && pureFunctions[name]:
		return computed(out)
	case builtin && returnsClear(name):
		t.launder(out, "function "+name)
		return computed(out)
	}
	t.impure = true
	t.launder(out, "function "+name+", which may keep them")
	if out.Proof == Clear {
		out = unproved("function " + name + " is not known to compute from its arguments alone")
	}
	return computed(out)
}

// indirection is a field or an element of a value.
func (t *tracer) indirection(n *pg_query.A_Indirection, sc *scope) Column {
	out := t.computedOf(n, sc)
	for _, i := range n.Indirection {
		if name := i.GetString_().GetSval(); name != "" {
			out = t.attribute(name, out)
		}
	}
	return computed(out)
}

// attribute is x.name, which may be a field of x and may be a call, name(x) ("functional notation", section 8.16.5 of
// the server's manual).
func (t *tracer) attribute(name string, x Column) Column {
	// Of the server's functions, those that read more than what they are given have names that no field has.
	reads := strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "lo_") || refusedFunctions[name] != nil
	unknown := t.cat == nil || t.cat.Own(OwnAttribute, name) || returnsClear(name) && t.own(OwnFunction, name) || reads && !returnsClear(name)
	if unknown || changingFunctions[name] {
		t.launder(x, "function "+name)
	}
	if unknown {
		t.impure = true
		if x.Proof == Clear {
			return unproved(name + " may be a function, not known to compute from its argument alone")
		}
	}
	return x
}

func isBuiltin(schema, name string) bool {
	return schema == "" || schema == schemaCatalog || schema == schemaInformation && strings.HasPrefix(name, "_pg_")
}

// computes tells whether a function returns nothing but what it is given.
func computes(n *pg_query.FuncCall) bool {
	names, _ := stringsOf(n.Funcname)
	schema, name := relationOf(names)
	return isBuiltin(schema, name) && returnsClear(name)
}

// subquery is a query inside an expression.
func (t *tracer) subquery(n *pg_query.SubLink, sc *scope) Column {
	before := t.inferred
	inner := t.rowsOf(unwrap(n.Subselect), &scope{outer: sc, ctes: sc.ctes})
	if n.SubLinkType == pg_query.SubLinkType_EXPR_SUBLINK && inner.known && len(inner.columns) == 1 {
		return inner.columns[0].Column
	}
	out := proved
	if n.SubLinkType != pg_query.SubLinkType_EXISTS_SUBLINK {
		out = inner.worst()
	}
	if n.Testexpr != nil {
		out = t.applied(n.OperName, worse(out, t.operand(unwrap(n.Testexpr), sc)))
	}
	t.infer(out)
	if out.Proof == Clear && t.inferred != before {
		out = unproved(t.infers)
	}
	return computed(out)
}
