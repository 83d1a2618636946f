package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// unfiltered reports whether a WHERE clause chooses no rows of the target: it is missing, it looks at no column
// of the target, or it is true for every row by its form alone (x = x, a OR NOT a). Whether a condition is true
// for the rows that there are (id > 0) cannot be seen from the statement.
func unfiltered(where *pg_query.Node, target *pg_query.RangeVar, joined bool) bool {
	if where == nil {
		return true
	}
	alias := target.GetAlias().GetAliasname()
	if alias == "" {
		alias = target.GetRelname()
	}
	f := filter{alias: alias, joined: joined}
	return !f.filters(unwrap(where), false)
}

// plainFilter reports whether what unfiltered says of a WHERE clause holds whatever its constants are: there is
// none, or one of its conditions compares a column of the target with a constant or a parameter.
func plainFilter(where *pg_query.Node, target *pg_query.RangeVar, joined bool) bool {
	if where == nil {
		return true
	}
	conditions := []*pg_query.Node{where}
	if b := where.GetBoolExpr(); b != nil && b.Boolop == pg_query.BoolExprType_AND_EXPR {
		conditions = b.Args
	}
	for _, c := range conditions {
		e := c.GetAExpr()
		if e == nil || e.Kind != pg_query.A_Expr_Kind_AEXPR_OP || e.Lexpr.GetColumnRef() == nil ||
			e.Rexpr.GetAConst() == nil && e.Rexpr.GetParamRef() == nil {
			continue
		}
		if names, _ := stringsOf(e.Name); len(names) == 1 && comparisons[names[0]] && !unfiltered(c, target, joined) {
			return true
		}
	}
	return false
}

var comparisons = map[string]bool{"=": true, "<": true, ">": true, "<=": true, ">=": true, "<>": true}

// filter judges conditions on one target. Where other relations are joined, a bare column name may be theirs and
// does not count as one of the target.
type filter struct {
	alias  string
	joined bool
}

// filters reports whether the condition (negated: its opposite) chooses among the target's rows.
func (f filter) filters(m proto.Message, negated bool) bool {
	switch n := m.(type) {
	case *pg_query.BoolExpr:
		switch n.Boolop {
		case pg_query.BoolExprType_NOT_EXPR:
			return len(n.Args) > 0 && f.filters(unwrap(n.Args[0]), !negated)
		case pg_query.BoolExprType_AND_EXPR:
			return f.combine(n.Args, negated, !negated)
		case pg_query.BoolExprType_OR_EXPR:
			return f.combine(n.Args, negated, negated)
		}
	case *pg_query.A_Expr:
		if f.tautology(n) {
			return false
		}
	case *pg_query.CurrentOfExpr:
		return true
	case *pg_query.TypeCast:
		return f.filters(unwrap(n.Arg), negated)
	case *pg_query.BooleanTest:
		return f.filters(unwrap(n.Arg), negated)
	case *pg_query.CoalesceExpr:
		return f.combine(n.Args, false, false)
	}
	return f.looksAt(m, false)
}

// combine: for a conjunction one operand that filters is enough, in a disjunction every one has to, and two
// that are each other's opposite cancel out.
func (f filter) combine(args []*pg_query.Node, negated, conjunction bool) bool {
	if !conjunction && opposites(args) {
		return false
	}
	for _, a := range args {
		if f.filters(unwrap(a), negated) == conjunction {
			return conjunction
		}
	}
	return !conjunction
}

// tautology recognises comparisons that hold for every row: of a value with itself, and with a pattern that
// matches anything.
func (f filter) tautology(n *pg_query.A_Expr) bool {
	if n.Lexpr == nil || n.Rexpr == nil {
		return false
	}
	left := unwrap(n.Lexpr)
	if same(left, unwrap(n.Rexpr)) {
		return true
	}
	if list := n.Rexpr.GetList(); list != nil {
		for _, item := range list.Items {
			if same(left, unwrap(item)) {
				return true
			}
		}
	}
	pattern, ok := constant(n.Rexpr)
	if !ok {
		return false
	}
	names, _ := stringsOf(n.Name)
	operator := ""
	if len(names) > 0 {
		operator = names[len(names)-1]
	}
	switch operator {
	case "~~", "~~*":
		return pattern != "" && strings.Trim(pattern, "%") == ""
	case "~", "~*":
		switch pattern {
		case "", ".*", "^", "$", "^.*", ".*$", "^.*$":
			return true
		}
	}
	return false
}

// opposites reports whether a disjunction holds a condition and its negation.
func opposites(args []*pg_query.Node) bool {
	// Quadratic, and so for the short lists only that people write.
	if len(args) > 16 {
		return false
	}
	for i, a := range args {
		for _, b := range args[i+1:] {
			if opposite(unwrap(a), unwrap(b)) || opposite(unwrap(b), unwrap(a)) {
				return true
			}
		}
	}
	return false
}

var complements = map[string]string{"=": "<>", "<": ">=", "<=": ">"}

func opposite(a, b proto.Message) bool {
	switch x := a.(type) {
	case *pg_query.BoolExpr:
		return x.Boolop == pg_query.BoolExprType_NOT_EXPR && len(x.Args) == 1 && same(unwrap(x.Args[0]), b)
	case *pg_query.NullTest:
		y, ok := b.(*pg_query.NullTest)
		return ok && x.Nulltesttype != y.Nulltesttype && same(unwrap(x.Arg), unwrap(y.Arg))
	case *pg_query.A_Expr:
		y, ok := b.(*pg_query.A_Expr)
		if !ok || x.Lexpr == nil || y.Lexpr == nil {
			return false
		}
		xs, _ := stringsOf(x.Name)
		ys, _ := stringsOf(y.Name)
		return len(xs) == 1 && len(ys) == 1 && complements[xs[0]] == ys[0] &&
			same(unwrap(x.Lexpr), unwrap(y.Lexpr)) && same(unwrap(x.Rexpr), unwrap(y.Rexpr))
	}
	return false
}

// looksAt reports whether an expression refers to a column of the target. Inside a subquery a bare name is most
// likely that query's own and does not count.
func (f filter) looksAt(m proto.Message, nested bool) bool {
	switch n := m.(type) {
	case *pg_query.ColumnRef:
		fields, star := columnFields(n)
		if star {
			return true
		}
		if len(fields) > 1 {
			return fields[len(fields)-2] == f.alias
		}
		return !nested && (!f.joined || len(fields) == 1 && fields[0] == f.alias)
	case *pg_query.SelectStmt:
		nested = true
	}
	found := false
	children(m, func(c proto.Message) {
		found = found || f.looksAt(c, nested)
	})
	return found
}

// same compares two expressions without their positions in the text.
func same(a, b proto.Message) bool {
	if a == nil || b == nil {
		return false
	}
	x, y := proto.Clone(a), proto.Clone(b)
	forget(x)
	forget(y)
	return proto.Equal(x, y)
}

// forget clears the positions in a tree.
func forget(m proto.Message) {
	r := m.ProtoReflect()
	if fd := r.Descriptor().Fields().ByName("location"); fd != nil && fd.Message() == nil && !fd.IsList() {
		r.Clear(fd)
	}
	children(m, forget)
}
