package wire

import (
	"math/rand"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// whenText is a condition on the text itself.
type whenText string

func (w whenText) Eval(c policy.Command) (bool, error) {
	return strings.Contains(c.Text, string(w)), nil
}

func TestOneVerdictForQueriesThatDifferInConstants(t *testing.T) {
	tests := map[string]struct {
		first, second string
		shared        bool
		change        func(c *Core)
	}{
		"a SELECT by another key":                        {first: "SELECT id FROM customers WHERE id = 1", second: "SELECT id FROM customers WHERE id = 22", shared: true},
		"a SELECT with another LIMIT":                    {first: "SELECT id FROM customers LIMIT 1", second: "SELECT id FROM customers LIMIT 99", shared: true},
		"an INSERT of other values":                      {first: "INSERT INTO notes VALUES (1, 'a')", second: "INSERT INTO notes VALUES (2, 'it''s')", shared: true},
		"an UPDATE by another key":                       {first: "UPDATE notes SET a = 1 WHERE id = 2", second: "UPDATE notes SET a = 5 WHERE id = 3", shared: true},
		"not where a constant may make a condition true": {first: "UPDATE notes SET a = 1 WHERE name LIKE 'x%'", second: "UPDATE notes SET a = 1 WHERE name LIKE '%'"},
		"not where a constant counts columns":            {first: "SELECT id, card FROM customers ORDER BY 1", second: "SELECT id, card FROM customers ORDER BY 2"},
		"not where a constant names a setting":           {first: "SELECT set_config('work_mem', '1MB', false)", second: "SELECT set_config('role', '1MB', false)"},
		"not for what is not one of the four statements": {first: "SET work_mem = '1MB'", second: "SET work_mem = '2MB'"},
		"not for EXPLAIN":                                {first: "EXPLAIN SELECT 1", second: "EXPLAIN SELECT 2"},
		"not for COPY":                                   {first: "COPY customers TO STDOUT (DELIMITER 'a')", second: "COPY customers TO STDOUT (DELIMITER 'b')"},
		"not for PREPARE":                                {first: "PREPARE a AS SELECT 1", second: "PREPARE a AS SELECT 2"},
		"not for several statements":                     {first: "SELECT 1; SELECT 2", second: "SELECT 3; SELECT 4"},
		"not for a function that takes SQL as text":      {first: "SELECT query_to_xml('SELECT 1', true, true, '')", second: "SELECT query_to_xml('SELECT 2', true, true, '')"},
		"not for what needs an approval":                 {first: "DELETE FROM notes WHERE id = 1", second: "DELETE FROM notes WHERE id = 2"},
		"not for what is denied":                         {first: "UPDATE secrets SET a = 1 WHERE id = 1", second: "UPDATE secrets SET a = 1 WHERE id = 2"},
		"not behind a comment":                           {first: "SELECT 1 -- a", second: "SELECT 2 -- a"},
		"not with an escape string":                      {first: `SELECT E'a'`, second: `SELECT E'b'`},
		"not with a dollar quote":                        {first: `SELECT $$a$$`, second: `SELECT $$b$$`},
		"not for another name":                           {first: `SELECT "a" FROM customers WHERE id = 1`, second: `SELECT "b" FROM customers WHERE id = 1`},
		"not once the search_path has changed":           {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { c.setPath([]string{"other"}, "agent") }},
		"not while a transaction may bring a path back":  {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { c.touched = true }},
		"not while what names mean is not known":         {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { c.stale = true }},
		"not once somebody has changed the catalogue":    {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { c.cfg.Catalogue.Begin(); c.cfg.Catalogue.End() }},
		"not once the session has a temporary table":     {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { c.temporary("t") }},
		"not under other rules":                          {first: "SELECT 1", second: "SELECT 2", change: func(c *Core) { other := strict(t); c.cfg.Rules = func() *Rules { return other } }},
		"not where a rule has a condition":               {first: "SELECT 1", second: "SELECT 2", change: conditional(t)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, alikeRules(t))
			if strings.HasPrefix(name, "not where a rule has") {
				tc.change(c)
			}
			first := c.judge([]byte(tc.first), c.unsure())
			if tc.change != nil {
				tc.change(c)
			}
			second := c.judge([]byte(tc.second), c.unsure())
			if first.text != tc.first || second.text != tc.second {
				t.Fatalf("texts are %q and %q", first.text, second.text)
			}
			if shared := len(first.parts) > 0 && len(second.parts) > 0 && &first.parts[0] == &second.parts[0]; shared != tc.shared {
				t.Errorf("shared: %v", shared)
			}
		})
	}
}

func conditional(t *testing.T) func(*Core) {
	previous := policy.Conditions
	t.Cleanup(func() { policy.Conditions = previous })
	policy.Conditions = func(_ policy.Protocol, text string) (policy.Condition, error) { return whenText(text), nil }
	rules := compiled(t, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow,
		Rules: []policy.Rule{{Name: "r", When: "2", Action: policy.Deny}}})
	return func(c *Core) { c.cfg.Rules = func() *Rules { return rules } }
}

func alikeRules(t testing.TB) *Rules {
	return compiled(t, policy.Postgres{
		TLSMode: policy.TLSDisable, DefaultAction: policy.Allow,
		Rules: []policy.Rule{
			{Name: "secrets", Match: policy.Match{Tables: []string{"public.secrets"}}, Action: policy.Deny},
			{Name: "deletes", Match: policy.Match{Commands: []string{"DELETE"}}, Action: policy.RequireApproval},
		},
		Masking: []policy.Masking{{Columns: []string{"public.customers.card"}}, {Detectors: []string{"CreditCard"}}},
	})
}

// TestAConditionSeesTheTextOfEachQuery shows what sharing would break.
func TestAConditionSeesTheTextOfEachQuery(t *testing.T) {
	c, _ := newCore(t, alikeRules(t))
	conditional(t)(c)
	for text, want := range map[string]policy.Action{"SELECT 1": policy.Allow, "SELECT 2": policy.Deny, "SELECT 3": policy.Allow} {
		if j := c.judge([]byte(text), false); j.verdict.Action != want {
			t.Errorf("%s: %s, want %s", text, j.verdict.Action, want)
		}
	}
}

// TestTheRecordingHoldsEachQueryItself: the verdict is shared, what is recorded and forwarded is not.
func TestTheRecordingHoldsEachQueryItself(t *testing.T) {
	c, events := newCore(t, alikeRules(t))
	texts := []string{"SELECT id FROM customers WHERE id = 1", "SELECT id FROM customers WHERE id = 2"}
	for _, text := range texts {
		c.Agent(encode(&pgproto3.Query{String: text}))
	}
	sent, _ := c.ToServer(nil)
	for i, text := range texts {
		if !strings.Contains(string(sent), text) {
			t.Errorf("%q was not forwarded", text)
		}
		if e := (*events)[i]; e.Text != text || e.Digest == (*events)[1-i].Digest {
			t.Errorf("recorded: %+v", e)
		}
	}
}

// TestResultsOfQueriesAlikeAreMaskedAlike: a plan that is used again masks the same columns, and is not used for a
// result that is described otherwise.
func TestResultsOfQueriesAlikeAreMaskedAlike(t *testing.T) {
	c, _ := newCore(t, alikeRules(t))
	idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	const card = "5500005555555559"
	for i, fields := range [][]pgproto3.FieldDescription{
		{{Name: []byte("id"), DataTypeOID: 23}, {Name: []byte("card"), DataTypeOID: 25}},
		{{Name: []byte("id"), DataTypeOID: 23}, {Name: []byte("card"), DataTypeOID: 25}},
		{{Name: []byte("id"), DataTypeOID: 25, TableOID: 100, TableAttributeNumber: 2}, {Name: []byte("card"), DataTypeOID: 25}},
	} {
		c.Agent(encode(&pgproto3.Query{String: "SELECT id, card FROM customers WHERE id = " + strconv.Itoa(i)}))
		c.ToServer(nil)
		if err := c.Server(encode(&pgproto3.RowDescription{Fields: fields},
			&pgproto3.DataRow{Values: [][]byte{[]byte("an id"), []byte(card)}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)); err != nil {
			t.Fatal(err)
		}
		out, _ := c.ToAgent(nil)
		if strings.Contains(string(out), card) {
			t.Errorf("result %d leaks the card", i)
		}
		if leaks := strings.Contains(string(out), "an id"); leaks != (i < 2) {
			t.Errorf("result %d shows id: %v; its origin is the protected column only in the last", i, leaks)
		}
	}
}

// FuzzAlike: what a session says of a query that is like one before is what a session says that never saw another.
func FuzzAlike(f *testing.F) {
	for _, seed := range []string{
		"select id, 'a', card from customers where id = 1 limit 3", "update notes set note = 'x', total = 5 where id = 7",
		"insert into notes values (1, 2, 'x') on conflict (id) do update set note = 'y'", "delete from notes where id = 1",
		"select count(*) from customers where card in ('a', 'b') group by 1", "select 1 union select card from customers order by 1",
		"update notes set a = 1 where name like '%' and id = 3", "select set_config('role', 'x', true)", "select * from secrets where a = '1'",
	} {
		f.Add(seed, int64(1))
	}
	rules := alikeRules(f)
	f.Fuzz(func(t *testing.T, query string, seed int64) {
		if len(query) > 300 || strings.IndexByte(query, 0) >= 0 {
			return
		}
		other := otherConstants(query, rand.New(rand.NewSource(seed)))
		used, _ := newCore(t, rules)
		used.judge([]byte(query), false)
		got := used.judge([]byte(other), false)
		unused, _ := newCore(t, rules)
		want := unused.judge([]byte(other), false)
		if want.syntax != nil {
			return // a constant that the grammar wants otherwise: the server refuses it too
		}
		if got.text != other || !reflect.DeepEqual(got.verdict, want.verdict) || got.effects != want.effects || len(got.parts) != len(want.parts) {
			t.Fatalf("%q after %q: %+v, on its own %+v", other, query, got.verdict, want.verdict)
		}
		for i := range got.parts {
			if g, w := got.parts[i], want.parts[i]; g.Kind != w.Kind || g.Tag != w.Tag || g.ReturnsRows != w.ReturnsRows || !reflect.DeepEqual(g.shape, w.shape) {
				t.Fatalf("%q after %q: %+v, on its own %+v", other, query, g.shape, w.shape)
			}
		}
	})
}

// otherConstants puts other digits and strings where the query has some.
func otherConstants(query string, r *rand.Rand) string {
	words := []string{"", "x", "%", "off", "search_path", "it''s", "1", "true"}
	var out strings.Builder
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c >= '0' && c <= '9':
			out.WriteByte(byte('0' + r.Intn(10)))
		case c == '\'':
			end := strings.IndexByte(query[i+1:], '\'')
			if end < 0 {
				return out.String() + query[i:]
			}
			out.WriteString("'" + words[r.Intn(len(words))] + "'")
			i += end + 1
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
