package sql

import (
	"errors"
	"strings"
	"testing"
)

// Positions count characters from 1, as the server's errors do; TestAgainstTheServer asks a server for them.
func TestSyntaxErrorsAreTheServers(t *testing.T) {
	tests := map[string]struct {
		query    string
		message  string
		position int
	}{
		"a misspelt keyword":                 {"selct 1", `syntax error at or near "selct"`, 1},
		"a word too many":                    {"select * frm t", `syntax error at or near "frm"`, 10},
		"after letters of several bytes":     {"select é, 'ünï' from from", `syntax error at or near "from"`, 22},
		"at the end":                         {"select 1 from", "syntax error at end of input", 14},
		"an open string":                     {"select 'abc", `unterminated quoted string at or near "'abc"`, 8},
		"an open identifier":                 {`select "abc`, `unterminated quoted identifier at or near ""abc"`, 8},
		"an open dollar quote":               {"select $$abc", `unterminated dollar-quoted string at or near "$$abc"`, 8},
		"an open comment":                    {"select 1 /* abc", `unterminated /* comment at or near "/* abc"`, 10},
		"in the second statement":            {"select 1; selct 2", `syntax error at or near "selct"`, 11},
		"an operator that the lexer refuses": {"select 1 + ;", `syntax error at or near ";"`, 12},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tc.query, DefaultState())
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Message != tc.message || syntax.Position != tc.position {
				t.Errorf("got %#v", err)
			}
		})
	}
}

func TestWhatIsNotRead(t *testing.T) {
	chain := func(one, each string, n int) string { return one + strings.Repeat(each, n) }
	inside := func(open, middle, shut string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(shut, n)
	}
	const deep, wide = "nests more than 1000 deep", "more than 100000 tokens"
	tests := map[string]struct{ query, want string }{
		"a zero byte":                             {"select 1\x00; drop table t", "zero byte"},
		"bytes that are not UTF-8":                {"select '\xff'", "not valid UTF-8"},
		"an overlong encoding":                    {"select '\xc0\xa7; drop table t --'", "not valid UTF-8"},
		"a surrogate":                             {"select '\xed\xa0\x80'", "not valid UTF-8"},
		"a text over the cap":                     {"select '" + strings.Repeat("x", MaxStatementBytes) + "'", "more than 1048576"},
		"a chain of operators":                    {chain("select 1", "+1", 100_000), deep},
		"a chain of unary operators":              {chain("select ", "- ", 100_000) + "1", deep},
		"a chain of casts":                        {chain("select 1", "::int", 100_000), deep},
		"a chain of IS NULL":                      {chain("select 1", " is null", 50_000), deep},
		"a chain of BETWEEN, whose ANDs end none": {chain("select 1", " between 1 and 2 is null", 20_000), deep},
		"a chain of COLLATE":                      {chain("select 1", ` collate "C"`, 50_000), deep},
		"a chain of names that look like commas":  {chain("select a.case", " + b.and + c.or + d.when", 20_000), deep},
		"a chain of set operations":               {chain("select 1, 2", " union select 1, 2", 30_000), deep},
		"a chain of joins":                        {chain("select * from a", " cross join b", 50_000), deep},
		"a chain of joins over commas":            {chain("select * from a", " natural join b, c", 30_000), deep},
		"parentheses in parentheses":              {"select " + inside("(", "1", ")", 100_000), deep},
		"subqueries in subqueries":                {inside("select (", "1", ")", 50_000), deep},
		"subqueries in FROM":                      {inside("select * from (", "select 1", ") x", 30_000), deep},
		"arrays in arrays":                        {"select array" + inside("[", "1", "]", 100_000), deep},
		"CASE in CASE":                            {"select " + inside("case when a and ", "true", " then 1 end", 20_000), deep},
		"NOT of NOT":                              {chain("select ", "not ", 100_000) + "true", deep},
		"WITH in WITH":                            {inside("with a as (", "select 1", ") select 1", 20_000), deep},
		"many tokens":                             {chain("select 1", ",1", 100_000), wide},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tc.query, DefaultState())
			var unrecognised *UnrecognisedError
			if !errors.As(err, &unrecognised) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.200v", err)
			}
		})
	}
	st := DefaultState()
	st.StandardConformingStrings = false
	if _, err := Parse("select 1", st); err == nil {
		t.Error("a session with the other literal syntax was read")
	}
}

func TestLargeStatementsThatPeopleSend(t *testing.T) {
	tests := map[string]string{
		"a thousand rows of twenty values": "insert into t values " + strings.Repeat("("+strings.Repeat("1, ", 19)+"'it''s'), ", 1000) + "(" + strings.Repeat("1, ", 19) + "2)",
		"twenty thousand values of IN":     "select * from t where id in (1" + strings.Repeat(", 2", 20_000) + ")",
		"ten thousand conditions":          "select * from t where id = 1" + strings.Repeat(" or id = 2 and x between 3 and 4", 5_000),
		"a CASE of two thousand branches":  "select case" + strings.Repeat(" when a = 1 and b then 'x'", 2_000) + " else 'y' end from t",
		"three hundred UNION ALL":          "select 1, 2" + strings.Repeat(" union all select 3, 4", 300),
		"a megabyte of text":               "select '" + strings.Repeat("((((", 250_000) + "'",
		"a long comment":                   "select 1 /* " + strings.Repeat("((((", 100_000) + " */",
		"a thousand statements":            strings.Repeat("select 1 + 2 + 3, (4);", 1000),
	}
	for name, query := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(query, DefaultState()); err != nil {
				t.Errorf("%.200v", err)
			}
		})
	}
}

func TestDepthAtTheBoundIsSafe(t *testing.T) {
	// Each just under the bound by its tokens; the parser, the tree's decoder and our own walks have to bear it.
	for _, query := range []string{
		"select 1" + strings.Repeat("+1", 990),
		strings.Repeat("select (", 495) + "1" + strings.Repeat(")", 495),
		"select " + strings.Repeat("case when a and ", 320) + "true" + strings.Repeat(" then 1 end", 320),
		strings.Repeat("with a as (", 240) + "select 1" + strings.Repeat(") select 1", 240),
		"select 1" + strings.Repeat(" union select 1", 490),
	} {
		parsed, err := Parse(query, DefaultState())
		if err != nil {
			t.Errorf("%.40s...: %v", query, err)
			continue
		}
		shape := parsed.Statements[0].Lineage(cards(t), shop)
		if !shape.Known || len(shape.Columns) != 1 {
			t.Errorf("%.40s...: %+v", query, shape)
		}
	}
}

const pointQuery = "SELECT id, name, card_number FROM customers WHERE id = 1"

func BenchmarkParse(b *testing.B) {
	st := DefaultState()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(pointQuery, st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseThousandRows(b *testing.B) {
	st := DefaultState()
	query := "insert into t values " + strings.Repeat("(1, 2, 'abcdef', 4.5), ", 1000) + "(1, 2, 'c', 3)"
	b.ReportAllocs()
	b.SetBytes(int64(len(query)))
	for b.Loop() {
		if _, err := Parse(query, st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLineage(b *testing.B) {
	parsed, err := Parse("select c.name, max(o.total) from customers c join orders o on o.customer_id = c.id where c.id > 3 group by 1", DefaultState())
	if err != nil {
		b.Fatal(err)
	}
	p := cards(b)
	b.ReportAllocs()
	for b.Loop() {
		parsed.Statements[0].Lineage(p, shop)
	}
}
