package sql

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// shop is a database in which customers.card_number is protected.
var shop = relations{
	{"public", "customers"}:      {Kind: 'r', Columns: []string{"id", "name", "card_number", "email"}},
	{"public", "orders"}:         {Kind: 'r', Columns: []string{"id", "customer_id", "total", "note"}},
	{"public", "parent"}:         {Kind: 'p', Columns: []string{"id", "secret"}, Family: []RelationName{{"public", "child"}}},
	{"public", "child"}:          {Kind: 'r', Columns: []string{"id", "secret"}, Family: []RelationName{{"public", "parent"}}},
	{"public", "cv"}:             {Kind: 'v', Columns: []string{"id", "c"}, Definition: " SELECT customers.id, customers.card_number AS c FROM public.customers;"},
	{"public", "cv2"}:            {Kind: 'v', Columns: []string{"id", "c", "l"}, Definition: " SELECT cv.id, cv.c, lower(cv.c) AS l FROM public.cv WHERE cv.c IS NOT NULL;"},
	{"public", "mv"}:             {Kind: 'm', Columns: []string{"name"}, Definition: " SELECT customers.name FROM public.customers;"},
	{"public", "odd"}:            {Kind: 'v', Columns: []string{"id"}, Definition: " SELECT app.secret_of(customers.id) AS id FROM public.customers;"},
	{"public", "stale"}:          {Kind: 'v', Columns: []string{"a", "b"}, Definition: " SELECT orders.id FROM public.orders;"},
	{"public", "loop"}:           {Kind: 'v', Columns: []string{"a"}, Definition: " SELECT loop.a FROM public.loop;"},
	{"public", "undefined"}:      {Kind: 'v', Columns: []string{"a"}},
	{"public", "gen"}:            {Kind: 'r', Columns: []string{"a", "g", "b"}, Generated: map[string]bool{"g": true}},
	{"pg_temp", "tmp"}:           {Kind: 'r', Columns: []string{"a"}},
	{"other", "customers"}:       {Kind: 'r', Columns: []string{"id", "card_number"}},
	{"pg_catalog", "pg_class"}:   {Kind: 'r', Columns: []string{"oid", "relname"}},
	{"pg_catalog", "pg_stats"}:   {Kind: 'v', Columns: []string{"tablename", "most_common_vals"}},
	{"public", "some_sequence"}:  {Kind: 'S', Columns: []string{"last_value"}},
	{"public", "some_composite"}: {Kind: 'c', Columns: []string{"a"}},
}

func cards(t interface {
	Helper()
	Fatal(...any)
}) *Protected {
	t.Helper()
	p, err := NewProtected([]policy.Masking{
		{Columns: []string{"public.customers.card_number"}, Method: policy.MaskPartial},
		{Detectors: []string{"Email"}},
		{Columns: []string{"public.parent.secret"}, Method: policy.MaskNull},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outline writes a shape: C clear, M0 masked by row 0, U unproved; ? stands before what every column is where
// their number is not known; then L where it launders and I where it infers.
func outline(s Shape) string {
	letter := func(c Column) string {
		switch c.Proof {
		case Clear:
			return "C"
		case Masked:
			return "M" + string(rune('0'+c.Row))
		}
		return "U"
	}
	var out []string
	if !s.Known {
		out = append(out, "?"+letter(s.Rest))
	}
	for _, c := range s.Columns {
		out = append(out, letter(c))
	}
	text := strings.Join(out, " ")
	if s.Launders != "" {
		text += " L"
	}
	if s.Infers != "" {
		text += " I"
	}
	return strings.TrimSpace(text)
}

type traced struct {
	name, query, want string
}

func traces(t *testing.T, rows []traced) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			st := DefaultState()
			parsed, err := Parse(row.query, st)
			if err != nil {
				t.Fatal(err)
			}
			shape := parsed.Statements[0].Lineage(cards(t), shop)
			if got := outline(shape); got != row.want {
				t.Errorf("%s\ngot  %s\nwant %s\n%+v", row.query, got, row.want, shape)
			}
		})
	}
}

func TestLineageOfColumns(t *testing.T) {
	traces(t, []traced{
		{"a clear column is clear, a protected one is masked by its row", "select id, card_number from customers", "C M0"},
		{"an alias of the table", "select c.card_number from customers c", "M0"},
		{"an alias of the column", "select card_number as name from customers", "M0"},
		{"a schema-qualified reference", "select public.customers.card_number from customers", "M0"},
		{"an equal name in another schema is another column", "select card_number from other.customers", "C"},
		{"a star is expanded in the catalogue's order", "select * from customers", "C C M0 C"},
		{"a table's star", "select o.*, c.* from customers c, orders o", "C C C C C C M0 C"},
		{"TABLE", "table customers", "C C M0 C"},
		{"renamed columns keep their place", "select card_number, x from customers as c(card_number, name, x)", "C M0"},
		{"system columns are clear", "select ctid, tableoid from customers", "C C"},
		{"a partition's column goes by its parent", "select * from child", "C M2"},
		{"a parent's by itself", "select secret from parent", "M2"},
		{"an unknown table is not proved", "select a from nowhere", "U"},
		{"nor is how many columns it has", "select * from nowhere", "?U"},
		{"an unknown column is not proved", "select nothing from orders", "U"},
		{"constants and parameters are clear", "select 1, 'x', null, $1, current_user, true", "C C C C C C"},
		{"a sequence is clear", "select last_value from some_sequence", "C"},
		{"what is no table is not proved", "select a from some_composite", "U"},
		{"a temporary table that is known", "select a from pg_temp.tmp", "C"},
		{"a catalogue is clear", "select relname from pg_class", "C"},
		{"an unknown catalogue is clear of any table's rows", "select * from pg_catalog.pg_namespace", "?C"},
		{"a catalogue of samples is not proved", "select tablename, most_common_vals from pg_stats", "U U"},
		{"nor where its columns are not known", "select * from pg_catalog.pg_statistic", "?U"},
		{"nor are others' statements", "select query from pg_stat_activity", "U"},
	})
}

func TestLineageOfQueries(t *testing.T) {
	traces(t, []traced{
		{"through a subquery", "select x, y from (select id as x, card_number as y from customers) s", "C M0"},
		{"through a subquery's star", "select s.* from (select * from customers) s", "C C M0 C"},
		{"through a subquery with renamed columns", "select b, a from (select id, card_number from customers) s(a, b)", "M0 C"},
		{"through WITH", "with w as (select * from customers) select card_number, name from w", "M0 C"},
		{"through WITH with renamed columns", "with w(a, b) as (select card_number, id from customers) select * from w", "M0 C"},
		{"a WITH that hides a table", "with customers as (select 1 as card_number) select card_number from customers", "C"},
		{"a WITH that reads the table of its name", "with customers as (select * from customers) select card_number from customers", "M0"},
		{"through recursion", "with recursive w(a, b) as (select id, card_number from customers union all select b::int, a::text from w) select * from w", "U U I"},
		{"through recursion that swaps its columns", "with recursive w(a, b, n) as (select name, card_number, 1 from customers union all select b, a, n + 1 from w where n < 3) select a, b, n from w", "M0 M0 C"},
		{"a WITH used before it is there", "with recursive a as (select * from b), b as (select 1 as x) select x from a", "U"},
		{"a recursive query with SEARCH", "with recursive w as (select id from customers union all select id from w) search depth first by id set o select * from w", "?C"},
		{"a union is masked where either side is", "select id, name from customers union all select id, card_number from customers", "C M0"},
		{"a union of two masks is masked whole", "select card_number from customers union all select secret from parent", "U"},
		{"a union that compares", "select card_number from customers union select name from customers", "M0 I"},
		{"an EXCEPT compares", "select name from customers except select card_number from customers", "M0 I"},
		{"an INTERSECT ALL compares", "select card_number from customers intersect all select 'x'", "M0 I"},
		{"values", "select * from (values (1, 'a'), (2, (select card_number from customers limit 1))) v", "C M0"},
		{"a join shows both sides", "select * from orders o join customers c on c.id = o.customer_id", "C C C C C C M0 C"},
		{"USING shows its columns once and first", "select * from customers c join orders o using (id)", "C C M0 C C C C"},
		{"USING of a protected column compares", "select 1 from customers a join customers b using (card_number)", "C I"},
		{"a natural join", "select * from customers natural join orders", "C C M0 C C C C"},
		{"a natural join over a protected column compares", "select * from customers natural join cv", "C C M0 C M0"},
		{"a join with an alias", "select j.card_number, j.total from (customers join orders using (id)) j", "M0 C"},
		{"a join with renamed columns", "select b, c from (customers join orders using (id)) j(a, b, c)", "C M0"},
		{"a join's alias hides the tables inside", "select customers.card_number from (customers join orders using (id)) j", "U"},
		{"a right join", "select c.card_number from orders o right join customers c on c.id = o.id", "M0"},
		{"LATERAL sees what stands before it", "select l.x from customers c, lateral (select c.card_number as x) l", "M0"},
		{"without LATERAL a subquery does not", "select l.x from customers card_number, (select 1 as x) l", "C"},
		{"a correlated scalar subquery is its column", "select (select c.card_number) from customers c", "M0"},
		{"a scalar subquery", "select (select card_number from customers limit 1), (select name from customers limit 1)", "M0 C"},
		{"an inner name hides an outer one", "select (select card_number from other.customers limit 1) from customers", "C"},
		{"an inner table without the name shows the outer one", "select (select card_number from orders limit 1) from customers", "M0"},
		{"through a view", "select * from cv", "C M0"},
		{"through a view of a view", "select id, c, l from cv2", "C M0 U"},
		{"through a materialized view", "select name from mv", "C"},
		{"a view over an unknown function", "select id from odd", "U"},
		{"a view whose definition is out of date", "select a, b from stale", "U U"},
		{"a view that stands on itself", "select a from loop", "U"},
		{"a view whose definition is not known", "select a from undefined", "U"},
		{"an aggregate over clear columns", "select name, count(*), max(email) from customers group by name", "C C C"},
	})
}

func TestLineageOfExpressions(t *testing.T) {
	traces(t, []traced{
		{"a pure function of clear columns", "select lower(name), length(email) + 1 from customers", "C C"},
		{"a pure function of a protected one", "select lower(card_number) from customers", "U I"},
		{"an operator", "select card_number || '' from customers", "U I"},
		{"a comparison", "select card_number like '4%' from customers", "U I"},
		{"CASE", "select case when card_number > '5' then 'a' else 'b' end from customers", "U I"},
		{"COALESCE", "select coalesce(card_number, 'x') from customers", "U I"},
		{"a cast to text keeps the mask", "select card_number::text, cast(card_number as varchar) from customers", "M0 M0"},
		{"another cast does not", "select card_number::varchar(4), card_number::numeric, card_number::text[] from customers", "U U U I"},
		{"COLLATE keeps the mask", `select card_number collate "C" from customers`, "M0"},
		{"IS NULL", "select card_number is null from customers", "U I"},
		{"an array", "select array[card_number] from customers", "U I"},
		{"an array of a query", "select array(select card_number from customers)", "U I"},
		{"a row", "select row(id, card_number), (id, name) from customers", "U C I"},
		{"a whole row", "select customers, c from customers, customers c", "U U"},
		{"a whole row of a clear table", "select orders from orders", "C"},
		{"a field of a row", "select (c).name, (c).card_number from customers c", "U U I"},
		{"all fields of a row", "select (c).* from customers c", "?U I"},
		{"row_to_json", "select row_to_json(c) from customers c", "U I"},
		{"to_jsonb of a row with a star", "select to_jsonb(row(c.*)) from customers c", "U I"},
		{"a function over a row in the form of a column", "select c.to_jsonb from customers c", "U"},
		{"an aggregate", "select string_agg(card_number, ','), max(card_number), count(card_number) from customers", "U U U I"},
		{"an aggregate's order", "select string_agg(name, ',' order by card_number) from customers", "U I"},
		{"an aggregate's filter", "select count(*) filter (where card_number like '4%') from customers", "U I"},
		{"a window", "select row_number() over (order by card_number) from customers", "U I"},
		{"a named window", "select id, rank() over w from customers window w as (order by card_number)", "C C I"},
		{"EXISTS over a clear query", "select exists (select 1 from customers where name = 'x')", "C"},
		{"EXISTS over a protected predicate", "select exists (select 1 from customers where card_number like '4%')", "U I"},
		{"IN a protected query", "select 'x' in (select card_number from customers)", "U I"},
		{"a protected value IN a list", "select card_number in ('a', 'b') from customers", "U I"},
		{"ANY of an array", "select card_number = any ($1) from customers", "U I"},
		{"XML", "select xmlelement(name x, card_number) from customers", "U I"},
		{"JSON constructors", "select json_object('k' : card_number), json_array(name) from customers", "U C I"},
		{"JSON aggregates", "select json_arrayagg(card_number) from customers", "U I"},
		{"an unknown function of clear columns is not proved", "select app.f(name) from customers", "U"},
		{"an unknown function of nothing is not proved", "select card_of(1)", "U"},
		{"a function of a builtin's name in another schema is not proved", "select app.lower(name) from customers", "U"},
		{"an operator of a schema of its own is not proved", "select name operator(app.+) 1 from customers", "U"},
		{"an operator of pg_catalog is", "select id operator(pg_catalog.+) 1 from customers", "C"},
		{"a function that tells of the session", "select now(), current_setting('app.x'), pg_typeof(name) from customers", "C C C"},
		{"a large object is not proved", "select lo_get(1)", "U"},
		{"a set-returning function in FROM", "select g from generate_series(1, 3) g", "C"},
		{"its star beside a table", "select * from customers, generate_series(1, 3) g", "C C M0 C C"},
		{"unnest of a protected array", "select u from customers c, unnest(array[c.card_number]) u", "U I"},
		{"json_each of a row", "select e.value from customers c, json_each(row_to_json(c)) e", "U I"},
		{"json_each of a parameter", "select * from json_each($1)", "C C"},
		{"a record with column definitions", "select * from json_to_record($1) as r(a int, b text)", "C C"},
		{"an unknown function in FROM", "select * from app.report()", "?U"},
		{"with ordinality", "select * from unnest(array['a']) with ordinality as u(x, n)", "C C"},
		{"XMLTABLE over a protected value", "select x.* from customers c, xmltable('/r' passing c.card_number columns a text) x", "?U I"},
	})
}

func TestInference(t *testing.T) {
	traces(t, []traced{
		{"WHERE", "select id from customers where card_number = '4111'", "C I"},
		{"WHERE on a clear column", "select id from customers where name = 'x'", "C"},
		{"HAVING", "select name from customers group by name having max(card_number) > '4'", "C I"},
		{"ORDER BY an input column", "select id from customers order by card_number", "C I"},
		{"ORDER BY an output column by name", "select card_number as x from customers order by x", "M0 I"},
		{"ORDER BY an output column by number", "select id, card_number from customers order by 2", "C M0 I"},
		{"ORDER BY a clear output column that hides a protected name", "select id as card_number from customers order by card_number", "C"},
		{"ORDER BY an expression", "select id from customers order by length(card_number)", "C I"},
		{"ORDER BY of a union", "select card_number from customers union all select 'x' order by 1", "M0 I"},
		{"GROUP BY", "select count(*) from customers group by card_number", "C I"},
		{"GROUP BY an output column", "select card_number as x, count(*) from customers group by x", "M0 C I"},
		{"GROUP BY a number", "select card_number, count(*) from customers group by 1", "M0 C I"},
		{"GROUP BY grouping sets", "select name, count(*) from customers group by grouping sets ((name), (card_number))", "C C I"},
		{"DISTINCT", "select distinct card_number from customers", "M0 I"},
		{"DISTINCT on clear columns", "select distinct name from customers", "C"},
		{"DISTINCT ON", "select distinct on (card_number) id from customers", "C I"},
		{"ON", "select o.id from orders o join customers c on c.card_number = o.note", "C I"},
		{"a LIMIT computed of it", "select id from orders limit (select length(card_number) from customers limit 1)", "C I"},
		{"a view's own WHERE is not the agent's", "select id from cv2", "C"},
		{"DELETE", "delete from customers where card_number = 'x'", "I"},
		{"UPDATE", "update orders set total = 1 where note in (select card_number from customers)", "I"},
		{"EXPLAIN", "explain select 1 from customers where card_number = 'x'", "?C I"},
		{"RETURNING a condition", "update customers set name = 'x' returning card_number = 'y'", "U I"},
	})
}

func TestLineageOfOtherStatements(t *testing.T) {
	traces(t, []traced{
		{"EXPLAIN shows no rows", "explain (analyze, verbose) select card_number from customers", "?C"},
		{"EXPLAIN may compute a function when it plans", "explain select card_of(1)", "?U"},
		{"SHOW", "show work_mem", "?C"},
		{"EXECUTE proves nothing by itself", "execute p", "?U"},
		{"FETCH neither", "fetch c", "?U"},
		{"PREPARE returns nothing", "prepare p as select card_number from customers where card_number > $1", "I"},
		{"DECLARE returns nothing", "declare c cursor for select card_number from customers", ""},
		{"COPY of a table", "copy customers to stdout", "C C M0 C"},
		{"COPY of columns", "copy customers (card_number, id) to stdout", "M0 C"},
		{"COPY leaves out generated columns", "copy gen to stdout", "C C"},
		{"COPY of named generated columns", "copy gen (g, a) to stdout", "C C"},
		{"COPY of an unknown table", "copy nowhere to stdout", "?U"},
		{"COPY of a query", "copy (select id, lower(card_number) from customers) to stdout", "C U I"},
		{"COPY of a data-modifying query", "copy (delete from customers returning card_number) to stdout", "M0"},
		{"COPY in", "copy customers from stdin", ""},
		{"SET", "set work_mem = '1MB'", ""},
		{"BEGIN", "begin", ""},
	})
}

func TestLineageOfInnerStatements(t *testing.T) {
	for _, query := range []string{"prepare p as select id, card_number from customers", "declare c cursor for select id, card_number from customers"} {
		parsed, err := Parse(query, DefaultState())
		if err != nil {
			t.Fatal(err)
		}
		if got := outline(parsed.Statements[0].Inner.Lineage(cards(t), shop)); got != "C M0" {
			t.Errorf("%s: %s", query, got)
		}
	}
}

func TestLineageWithoutKnowledge(t *testing.T) {
	lineage := func(query string, st State, cat Catalogue) string {
		parsed, err := Parse(query, st)
		if err != nil {
			t.Fatal(err)
		}
		return outline(parsed.Statements[0].Lineage(cards(t), cat))
	}
	st := DefaultState()
	temporary := DefaultState()
	temporary.Temporary = map[string]bool{"orders": true, "tmp": true}
	nowhere := DefaultState()
	nowhere.SearchPath = nil
	for name, tc := range map[string]struct{ got, want string }{
		"without a catalogue no table is proved":              {lineage("select id, 1 from customers", st, nil), "U C"},
		"but the system's are":                                {lineage("select relname from pg_class", st, nil), "C"},
		"a temporary table that is not known could shadow":    {lineage("select id from orders", temporary, shop), "U"},
		"one that is known is what it is":                     {lineage("select a from tmp", temporary, shop), "C"},
		"without a search_path a bare name proves nothing":    {lineage("select id from orders", nowhere, shop), "U"},
		"a qualified one does":                                {lineage("select id from public.orders", nowhere, shop), "C"},
		"two schemas: the first that has the table":           {lineage("select card_number from customers", State{SearchPath: []string{"other", "public"}, StandardConformingStrings: true}, shop), "C"},
		"two schemas: the first that has the table, reversed": {lineage("select card_number from customers", State{SearchPath: []string{"none", "public", "other"}, StandardConformingStrings: true}, shop), "M0"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %s, want %s", name, tc.got, tc.want)
		}
	}
	parsed, err := Parse("insert into x select card_number from customers", st)
	if err != nil {
		t.Fatal(err)
	}
	if s := parsed.Statements[0].Lineage(nil, nil); outline(s) != "?C" || !s.AllClear() {
		t.Errorf("where nothing is protected: %+v", s)
	}
}

func TestShape(t *testing.T) {
	parsed, err := Parse("insert into orders (note) select card_number from customers where card_number > '5'", DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	shape := parsed.Statements[0].Lineage(cards(t), shop)
	shape.Apply(parsed.Commands)
	sql := parsed.Commands[0].SQL
	if sql.Launders != "values of public.customers.card_number, which is masked, would come into table orders" || sql.Infers != "public.customers.card_number" {
		t.Errorf("commands say %q and %q", sql.Launders, sql.Infers)
	}
	known := Shape{Known: true, Columns: []Column{{Proof: Clear}, {Proof: Masked, Row: 3}}}
	if known.Column(1, 2).Row != 3 || known.Column(0, 3).Proof != Unproved || known.Column(5, 2).Proof != Unproved || known.AllClear() {
		t.Error("a result of another shape than the statement was proved")
	}
}

func TestIntricateStatementsEnd(t *testing.T) {
	// Recursive queries in recursive queries are gone through several times at each level.
	query := "select 1 as a"
	for range 12 {
		query = "with recursive w(a) as (select 1 union all select a from (" + query + ") q) select a from w"
	}
	parsed, err := Parse(query, DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	parsed.Statements[0].Lineage(cards(t), shop)
	// A view of a view of a view, each twice.
	deep := relations{{"public", "v0"}: {Kind: 'r', Columns: []string{"a"}}}
	for i := range 60 {
		name := func(i int) string { return "v" + string(rune('0'+i/10)) + string(rune('0'+i%10)) }
		under := "public.v0"
		if i > 0 {
			under = "public." + name(i-1)
		}
		deep[RelationName{"public", name(i)}] = Relation{Kind: 'v', Columns: []string{"a"}, Definition: "SELECT x.a FROM " + under + " x, " + under + " y"}
	}
	if parsed, err = Parse("select a from v59, v20", DefaultState()); err != nil {
		t.Fatal(err)
	}
	if got := outline(parsed.Statements[0].Lineage(cards(t), deep)); got != "U" {
		t.Errorf("got %s", got)
	}
}

func TestTouches(t *testing.T) {
	for statement, want := range map[string]bool{
		"select id from customers":                               true,
		"select id from cv where c::int > 0":                     true,
		"select 1 from cv2":                                      true,
		"select id from child":                                   true,
		"select name from mv":                                    true,
		"select app.secret_of(1)":                                true,
		"select (select count(*) from cv)":                       true,
		"insert into orders (note) select name from mv":          true,
		"create index on cv ((c::int))":                          true,
		"refresh materialized view mv":                           true,
		"copy (select c from cv) to stdout":                      true,
		"copy orders from stdin where app.secret_of(id) = 'x'":   true,
		"execute p(app.secret_of(1))":                            true,
		"select note from orders where lower(note) = 'x'":        false,
		"select 'x'::int":                                        false,
		"select relname from pg_class":                           false,
		"select most_common_vals from pg_stats":                  true,
		"update orders set total = total + 1 where id = 1":       false,
		"copy orders from stdin":                                 false,
		"create table x (id int)":                                false,
		"select name from customers, orders where orders.id = 1": true,
	} {
		t.Run(statement, func(t *testing.T) {
			parsed, err := Parse(statement, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			if shape := parsed.Statements[0].Lineage(cards(t), shop); shape.Touches != want {
				t.Errorf("touches: %v, want %v", shape.Touches, want)
			}
		})
	}
}
