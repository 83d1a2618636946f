package sql

import (
	"reflect"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// recognised is one row: a sentence, a query string in a fresh session, and its commands as render writes them.
type recognised struct {
	name, query, want string
}

func recognises(t *testing.T, rows []recognised) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			parsed, err := Parse(row.query, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			if got := render(parsed.Commands); got != row.want {
				t.Errorf("%s\ngot  %s\nwant %s", row.query, got, row.want)
			}
		})
	}
}

func TestColumns(t *testing.T) {
	tests := map[string]struct {
		query string
		want  []string
	}{
		"a bare name is its only table's":             {"select id from orders where total > 1", []string{"public.orders.id", "public.orders.total"}},
		"an alias stands for its table":               {"select o.id from orders o", []string{"public.orders.id"}},
		"a name with schema and table":                {"select a.b.c from a.b", []string{"a.b.c"}},
		"a bare name could be any table's":            {"select x from a, b", []string{"public.a.x", "public.b.x"}},
		"a star is every column":                      {"select * from a, b", []string{"public.a.*", "public.b.*"}},
		"a table's star":                              {"select b.* from a, b", []string{"public.b.*"}},
		"a table's name alone is its whole row":       {"select a from a", []string{"public.a.a", "public.a.*"}},
		"a subquery's columns are the tables' inside": {"select s.x from (select id as x from a) s", []string{"public.a.id"}},
		"an outer column seen from inside":            {"select 1 from a where exists (select 1 from b where b.y = a.x)", []string{"public.b.y", "public.a.x"}},
		"a bare name inside could be the outer's":     {"select 1 from a where exists (select 1 from b where y = 1)", []string{"public.b.y", "public.a.y"}},
		"USING names a column of both sides":          {"select 1 from a join b using (k)", []string{"public.a.k", "public.b.k"}},
		"NATURAL could name any":                      {"select 1 from a natural join b", []string{"public.a.*", "public.b.*"}},
		"a join's alias stands for both sides":        {"select j.x from (a join b on true) j", []string{"public.a.x", "public.b.x"}},
		"INSERT names what it fills":                  {"insert into t (a, b) values (1, 2)", []string{"public.t.a", "public.t.b"}},
		"INSERT without a list fills all":             {"insert into t values (1)", []string{"public.t.*"}},
		"an upsert names what it sets":                {"insert into t (a) values (1) on conflict do update set b = excluded.c", []string{"public.t.a", "public.t.b", "public.t.c"}},
		"UPDATE names what it sets and reads":         {"update t set a = b where c", []string{"public.t.a", "public.t.b", "public.t.c"}},
		"COPY names its columns":                      {"copy t (a, b) to stdout", []string{"public.t.a", "public.t.b"}},
		"COPY without a list is all":                  {"copy t from stdin", []string{"public.t.*"}},
		"a name of no table is any table's":           {"select x", []string{"*.*.x"}},
		"a qualifier that is no alias is a table":     {"select q.x from a", []string{"*.q.x"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(tc.query, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			if got := parsed.Commands[0].SQL.Columns; !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s\ngot  %v\nwant %v", tc.query, got, tc.want)
			}
		})
	}
}

func TestFunctions(t *testing.T) {
	parsed, err := Parse(`select lower(x), app.f(count(*) filter (where g(1) > 2)) over (order by extract(day from now()))
		from generate_series(1, h()) order by "Odd"()`, DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"generate_series", "h", "lower", "app.f", "count", "g", "pg_catalog.extract", "now", "Odd"}
	if got := parsed.Commands[0].SQL.Functions; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestNamesAreResolvedAsTheSessionWould(t *testing.T) {
	known := relations{{"b", "t"}: {Kind: 'r', Columns: []string{"id"}}}
	tests := map[string]struct {
		st    State
		query string
		want  string
	}{
		"through several schemas a name could be in any":         {State{SearchPath: []string{"a", "b"}}, "select * from t", "SELECT(a.t|b.t) reads"},
		"the catalogue says in which":                            {State{SearchPath: []string{"a", "b"}, Catalogue: known}, "select * from t", "SELECT(b.t) reads"},
		"what the catalogue does not know could be in any":       {State{SearchPath: []string{"a", "b"}, Catalogue: known}, "select * from u", "SELECT(a.u|b.u) reads"},
		"without a path a name could be anywhere":                {State{}, "select * from t", "SELECT(*.t) reads"},
		"$user is the session's role":                            {State{SearchPath: []string{"$user", "public"}, User: "bob"}, "select * from t", "SELECT(bob.t|public.t) reads"},
		"$user of an unknown role could be any schema":           {State{SearchPath: []string{"$user", "public"}}, "select * from t", "SELECT(*.t|public.t) reads"},
		"the same schema twice is one":                           {State{SearchPath: []string{"a", "a"}}, "select * from t", "SELECT(a.t) reads"},
		"a temporary table may shadow a table":                   {State{SearchPath: []string{"public"}, Temporary: map[string]bool{"t": true}}, "select * from t, u", "SELECT(pg_temp.t|public.t public.u) reads"},
		"a qualified name is not shadowed":                       {State{SearchPath: []string{"public"}, Temporary: map[string]bool{"t": true}}, "select * from public.t", "SELECT(public.t) reads"},
		"pg_temp may stand in the path itself":                   {State{SearchPath: []string{"public", "pg_temp"}, Temporary: map[string]bool{"t": true}}, "select * from t", "SELECT(public.t|pg_temp.t) reads"},
		"a catalogue comes before the path":                      {State{SearchPath: []string{"a"}}, "select * from pg_class", "SELECT(pg_catalog.pg_class) reads"},
		"a path that names pg_catalog puts it where it stands":   {State{SearchPath: []string{"a", "pg_catalog"}}, "select * from pg_class", "SELECT(a.pg_class|pg_catalog.pg_class) reads"},
		"a refused catalogue is refused behind other schemas":    {State{SearchPath: []string{"a", "pg_catalog"}}, "select * from pg_shadow", "SELECT(a.pg_shadow|pg_catalog.pg_shadow) reads REFUSED"},
		"a refused catalogue is refused in an unknown schema":    {State{SearchPath: []string{"$user"}}, "select * from pg_shadow", "SELECT(pg_catalog.pg_shadow) reads REFUSED"},
		"a table made comes into the first schema of the path":   {State{SearchPath: []string{"a", "b"}}, "create table t (id int)", "CREATE TABLE(+a.t)"},
		"a new table in a path that begins with pg_temp is temp": {State{SearchPath: []string{"pg_temp", "b"}}, "create table t (id int)", "CREATE TABLE(+pg_temp.t)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.st.StandardConformingStrings = true
			parsed, err := Parse(tc.query, tc.st)
			if err != nil {
				t.Fatal(err)
			}
			if got := render(parsed.Commands); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// relations is a Catalogue made by hand.
type relations map[RelationName]Relation

func (r relations) Relation(schema, name string) (Relation, bool) {
	out, ok := r[RelationName{schema, name}]
	return out, ok
}

func (r relations) Own(kind Own, name string) bool {
	_, ok := r[RelationName{Schema: "own " + string(rune(kind)), Name: name}]
	return ok
}

func TestFingerprintIsFreeOfLiterals(t *testing.T) {
	print := func(query string) string {
		parsed, err := Parse(query, DefaultState())
		if err != nil {
			t.Fatal(err)
		}
		return parsed.Commands[0].SQL.Fingerprint
	}
	a, b, c := print("select * from t where id = 1"), print("SELECT *  FROM t WHERE id = 2 -- x"), print("select * from u where id = 1")
	if a == "" || a != b || a == c {
		t.Errorf("fingerprints %s, %s, %s", a, b, c)
	}
}

func TestTextIsTheStatementsOwn(t *testing.T) {
	parsed, err := Parse(" select 1 ; /* x */ drop table é ;\n\tcommit\n", DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range parsed.Statements {
		got = append(got, s.Text)
	}
	want := []string{"select 1", "/* x */ drop table é", "commit"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, c := range parsed.Commands {
		if c.Protocol != policy.ProtocolPostgres || !strings.Contains(" select 1 /* x */ drop table é commit ", c.Text) {
			t.Errorf("command %+v", c)
		}
	}
}
