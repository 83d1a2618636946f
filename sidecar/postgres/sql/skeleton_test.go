package sql

import (
	"math/rand"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestSkeleton(t *testing.T) {
	tests := map[string]struct {
		query, want string
		none        bool
	}{
		"numbers and strings go":                   {"select 12, 'a''b', 1.5 from t5 where x='y'", "select 0, '', 0.0 from t5 where x=''", false},
		"what is quoted as a name stays":           {`select "it's 5" from "a""b"`, `select "it's 5" from "a""b"`, false},
		"parameters stay":                          {"select $1, $22", "select $1, $22", false},
		"white space stays":                        {"select\n 1", "select\n 0", false},
		"a backslash in a plain string is nothing": {`select 'a\', 2`, `select '', 0`, false},
		"letters beyond ASCII":                     {"select é1 from t where é='é'", "select é1 from t where é=''", false},
		"a minus is no comment":                    {"select 3-2- -1", "select 0-0- -0", false},
		"a line comment":                           {"select 1 -- 'x", "", true},
		"a comment in an operator":                 {"select 1 +/* */ 2", "", true},
		"an escape string":                         {`select E'a\'b'`, "", true},
		"a bit string":                             {"select b'01'", "", true},
		"a Unicode string":                         {`select u&'\0061'`, "", true},
		"a Unicode identifier":                     {`select U&"a"`, "", true},
		"a dollar quote":                           {"select $$a$$", "", true},
		"a tagged dollar quote":                    {"select $a$a$a$", "", true},
		"a parameter that runs into a word":        {"select $1a", "", true},
		"a number that runs into a word":           {"select 1e5", "", true},
		"a hexadecimal number":                     {"select 0x1f", "", true},
		"a number with underscores":                {"select 1_000", "", true},
		"a number that ends in a point":            {"select 1.", "", true},
		"a large number":                           {"select 1234567890", "", true},
		"bytes that are not UTF-8":                 {"select '\xff'", "", true},
		"an open string":                           {"select 'a", "", true},
		"an open name":                             {`select "a`, "", true},
		"a zero byte":                              {"select 1\x00", "", true},
		"a zero byte in a string":                  {"select '\x00'", "", true},
		"a control character":                      {"select\x01 1", "", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Skeleton(nil, tc.query)
			if ok == tc.none || ok && string(got) != tc.want {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestLiteralBlind(t *testing.T) {
	tests := map[string]struct {
		query string
		want  bool
	}{
		"a SELECT":                              {"select * from t where id = 1 limit 5", true},
		"an INSERT":                             {"insert into t values (1, 'a') returning id", true},
		"an UPDATE by a value":                  {"update t set a = 5 where id = 1", true},
		"an UPDATE without WHERE":               {"update t set a = 5", true},
		"a DELETE by a value and something":     {"delete from t where id = 1 and (a = 2 or a <> 3)", true},
		"an UPDATE by what may cancel out":      {"update t set a = 5 where id = 1 or id <> 2", false},
		"a DELETE by a pattern":                 {"delete from t where name like 'a%'", false},
		"a DELETE by an expression":             {"delete from t where id + 1 = id + 2", false},
		"a DELETE by a bare name in a join":     {"delete from t using u where id = 1", false},
		"ORDER BY a number":                     {"select a, b from t order by 2", false},
		"ORDER BY a number deep inside":         {"select 1 from (select a, b from t order by 2) x", false},
		"ORDER BY a column":                     {"select a, b from t order by b", true},
		"GROUP BY a number":                     {"select a, count(*) from t group by 1", false},
		"GROUP BY a grouping set with a number": {"select a, count(*) from t group by rollup (1)", false},
		"DISTINCT ON a number":                  {"select distinct on (1) a from t", false},
		"set_config":                            {"select set_config('a', 'b', true)", false},
		"a DELETE inside a WITH":                {"with d as (delete from t where a or b) select 1", false},
		"two statements":                        {"select 1; select 2", false},
		"MERGE":                                 {"merge into t using s on t.id = 1 when matched then delete", false},
		"SET":                                   {"set work_mem = '1MB'", false},
		"COPY":                                  {"copy t to stdout (format csv)", false},
		"EXPLAIN":                               {"explain (analyze 1) select 1", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(tc.query, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			if parsed.LiteralBlind != tc.want {
				t.Errorf("%s: got %v", tc.query, parsed.LiteralBlind)
			}
		})
	}
}

// FuzzSkeleton: where a query is said to be blind to its constants, any others give the same commands and shape.
func FuzzSkeleton(f *testing.F) {
	for _, seed := range []string{
		"select id, 'a', card_number from customers where id = 1 order by name limit 3", "update orders set note = 'x', total = 5 where id = 7",
		"insert into orders values (1, 2, 3, 'x') on conflict (id) do update set note = 'y' where orders.total > 4",
		"select count(*) from customers where name in ('a', 'b') group by name, 1", "select 1 union select 2 order by 1",
		"delete from customers where id = 5 or id <> 5", "delete from customers where name like '%' and id = 3",
		"select \"a'1\".x from (values (1, 'x''y')) \"a'1\"(x)", "select 'a'\n'b', .5, 1 -1", "select x'1f', 1e3, $1 from t -- c",
	} {
		f.Add(seed, int64(1))
	}
	st := DefaultState()
	p := cards(f)
	f.Fuzz(func(t *testing.T, query string, seed int64) {
		skeleton, ok := Skeleton(nil, query)
		if !ok {
			return
		}
		parsed, err := Parse(query, st)
		if err != nil || !parsed.LiteralBlind {
			return
		}
		other := refilled(string(skeleton), rand.New(rand.NewSource(seed)))
		if again, ok := Skeleton(nil, other); !ok || string(again) != string(skeleton) {
			t.Fatalf("%q has skeleton %q, %q has %q", query, skeleton, other, again)
		}
		second, err := Parse(other, st)
		if err != nil {
			return // a constant that the grammar wants otherwise: the server refuses it too
		}
		if !second.LiteralBlind {
			t.Errorf("%q is blind to its constants, %q is not", query, other)
		}
		for _, c := range [][]Statement{parsed.Statements, second.Statements} {
			for i := range c[0].Commands {
				c[0].Commands[i].Text = ""
			}
		}
		if !reflect.DeepEqual(parsed.Statements[0].Commands, second.Statements[0].Commands) {
			t.Errorf("%q and %q have different commands", query, other)
		}
		a, b := parsed.Statements[0].Lineage(p, shop), second.Statements[0].Lineage(p, shop)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%q and %q have different shapes: %+v, %+v", query, other, a, b)
		}
	})
}

// refilled puts other constants into a skeleton.
func refilled(skeleton string, r *rand.Rand) string {
	words := []string{"", "x", "%", "off", "search_path", "it''s", "1", "true", "\\"}
	var out strings.Builder
	for i := 0; i < len(skeleton); {
		switch c := skeleton[i]; {
		case c == '\'':
			out.WriteString("'" + words[r.Intn(len(words))] + "'")
			i += 2
		case c == '"':
			end, _ := quoted(skeleton, i, '"')
			out.WriteString(skeleton[i:end])
			i = end
		case identStart(c) || c == '$':
			end := i + 1
			for end < len(skeleton) && identPart(skeleton[end]) {
				end++
			}
			out.WriteString(skeleton[i:end])
			i = end
		case digit(c):
			out.WriteString(strconv.Itoa(r.Intn(5)))
			if i++; i+1 < len(skeleton) && skeleton[i] == '.' && digit(skeleton[i+1]) {
				out.WriteString("." + strconv.Itoa(r.Intn(5)))
				i += 2
			}
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.String()
}

func BenchmarkSkeleton(b *testing.B) {
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = Skeleton(buffer[:0], pointQuery)
	}
}
