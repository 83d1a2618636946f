package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// outputName is the name that the server gives an output column without AS (FigureColname in parse_target.c). It
// is empty where that is not certain; such a column then counts as every name.
func outputName(m proto.Message) string {
	name, strength := figureName(m)
	if strength == 0 {
		return "?column?"
	}
	return name
}

// figureName returns the name and how good it is: 2 is the expression's own, 1 a second choice, 0 none.
func figureName(m proto.Message) (name string, strength int) {
	switch n := m.(type) {
	case *pg_query.ColumnRef:
		if fields, _ := columnFields(n); len(fields) > 0 {
			return fields[len(fields)-1], 2
		}
	case *pg_query.A_Indirection:
		for i := len(n.Indirection) - 1; i >= 0; i-- {
			if s := n.Indirection[i].GetString_(); s != nil {
				return s.Sval, 2
			}
		}
		return figureName(unwrap(n.Arg))
	case *pg_query.FuncCall:
		if names, _ := stringsOf(n.Funcname); len(names) > 0 {
			return names[len(names)-1], 2
		}
	case *pg_query.A_Expr:
		if n.Kind == pg_query.A_Expr_Kind_AEXPR_NULLIF {
			return "nullif", 2
		}
	case *pg_query.TypeCast:
		if name, strength = figureName(unwrap(n.Arg)); strength > 1 {
			return name, strength
		}
		if names, _ := stringsOf(n.GetTypeName().GetNames()); len(names) > 0 {
			return names[len(names)-1], 1
		}
		return name, strength
	case *pg_query.CollateClause:
		return figureName(unwrap(n.Arg))
	case *pg_query.GroupingFunc:
		return "grouping", 2
	case *pg_query.MergeSupportFunc:
		return "merge_action", 2
	case *pg_query.SubLink:
		return subqueryName(n)
	case *pg_query.CaseExpr:
		if n.Defresult != nil {
			if name, strength = figureName(unwrap(n.Defresult)); strength > 1 {
				return name, strength
			}
		}
		return "case", 1
	case *pg_query.A_ArrayExpr:
		return "array", 2
	case *pg_query.RowExpr:
		return "row", 2
	case *pg_query.CoalesceExpr:
		return "coalesce", 2
	case *pg_query.MinMaxExpr, *pg_query.SQLValueFunction, *pg_query.XmlExpr, *pg_query.XmlSerialize,
		*pg_query.JsonParseExpr, *pg_query.JsonScalarExpr, *pg_query.JsonSerializeExpr, *pg_query.JsonObjectConstructor,
		*pg_query.JsonArrayConstructor, *pg_query.JsonArrayQueryConstructor, *pg_query.JsonObjectAgg,
		*pg_query.JsonArrayAgg, *pg_query.JsonFuncExpr:
		// Named by the construct; which word it is differs between servers.
		return "", 2
	}
	return "", 0
}

func subqueryName(n *pg_query.SubLink) (name string, strength int) {
	switch n.SubLinkType {
	case pg_query.SubLinkType_EXISTS_SUBLINK:
		return "exists", 2
	case pg_query.SubLinkType_ARRAY_SUBLINK:
		return "array", 2
	case pg_query.SubLinkType_EXPR_SUBLINK:
		s := n.Subselect.GetSelectStmt()
		if s == nil {
			return "", 2
		}
		s = leftmost(s)
		if len(s.ValuesLists) > 0 {
			return "column1", 2
		}
		if len(s.TargetList) == 0 {
			return "", 2
		}
		target := s.TargetList[0].GetResTarget()
		if target.GetName() != "" {
			return target.Name, 2
		}
		if target == nil || target.Val == nil {
			return "", 2
		}
		if ref := target.Val.GetColumnRef(); ref != nil {
			if _, star := columnFields(ref); star {
				return "", 2 // SELECT * of one column
			}
		}
		return outputName(unwrap(target.Val)), 2
	}
	return "", 0
}
