package sql

import (
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// constant returns a literal's text; ok is false for anything else, and for NULL.
func constant(n *pg_query.Node) (text string, ok bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_String_:
		return x.String_.GetSval(), true
	case *pg_query.Node_Integer:
		return strconv.Itoa(int(x.Integer.GetIval())), true
	case *pg_query.Node_Float:
		return x.Float.GetFval(), true
	case *pg_query.Node_Boolean:
		return strconv.FormatBool(x.Boolean.GetBoolval()), true
	case *pg_query.Node_TypeCast:
		// 'x'::text and TRUE in older forms.
		return constant(x.TypeCast.GetArg())
	case *pg_query.Node_AConst:
		c := x.AConst
		if c.GetIsnull() {
			return "", false
		}
		switch v := c.GetVal().(type) {
		case *pg_query.A_Const_Sval:
			return v.Sval.GetSval(), true
		case *pg_query.A_Const_Ival:
			return strconv.Itoa(int(v.Ival.GetIval())), true
		case *pg_query.A_Const_Fval:
			return v.Fval.GetFval(), true
		case *pg_query.A_Const_Boolval:
			return strconv.FormatBool(v.Boolval.GetBoolval()), true
		case *pg_query.A_Const_Bsval:
			return v.Bsval.GetBsval(), true
		default:
			// An integer zero has no value on the wire.
			return "0", true
		}
	}
	return "", false
}

// parseBool reads a boolean as the server does (bool.c, parse_bool_with_len): unique prefixes count.
func parseBool(text string) (value, ok bool) {
	s := strings.ToLower(strings.TrimSpace(text))
	switch {
	case s == "":
		return false, false
	case strings.HasPrefix("true", s), strings.HasPrefix("yes", s), s == "on", s == "1":
		return true, true
	case strings.HasPrefix("false", s), strings.HasPrefix("no", s), s == "off", s == "of", s == "0":
		return false, true
	}
	return false, false
}
