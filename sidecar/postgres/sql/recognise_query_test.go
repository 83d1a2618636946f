package sql

import "testing"

func TestQueries(t *testing.T) {
	recognises(t, []recognised{
		{"a plain SELECT reads its table", "select id from orders where id = 1", "SELECT(public.orders) reads"},
		{"a SELECT without FROM touches nothing", "select 1", "SELECT() reads"},
		{"VALUES is a SELECT of nothing", "values (1), (2)", "SELECT() reads"},
		{"TABLE is a SELECT", "table orders", "SELECT(public.orders) reads"},
		{"a schema-qualified table keeps its schema", "select * from billing.invoices", "SELECT(billing.invoices) reads"},
		{"a table qualified with the database loses it", "select * from shop.billing.invoices", "SELECT(billing.invoices) reads"},
		{"a quoted name keeps its case and its dots", `select * from "Weird.Name"`, "SELECT(public.Weird.Name) reads"},
		{"a join reads both sides", "select * from orders o join customers c on o.cid = c.id left join x using (id)", "SELECT(public.orders public.customers public.x) reads"},
		{"tables are found in every subquery", "select (select max(id) from a) from b where exists (select 1 from c where c.id in (select id from d))", "SELECT(public.b public.a public.c public.d) reads"},
		{"tables are found in LATERAL items", "select * from a, lateral (select * from b where b.id = a.id) x", "SELECT(public.a public.b) reads"},
		{"tables are found in function arguments", "select coalesce((select id from a), nextval('s'))", "SELECT(public.a)"},
		{"tables are found in ORDER BY and LIMIT", "select 1 order by (select id from a) limit (select 3 from b)", "SELECT(public.a public.b) reads"},
		{"tables are found in GROUP BY, HAVING and windows", "select count(*) over (partition by (select 1 from a)) from b group by (select 2 from c) having (select true from d)", "SELECT(public.b public.a public.c public.d) reads"},
		{"tables are found in set operations", "select 1 from a union all select 2 from b except select 3 from c", "SELECT(public.a public.b public.c) reads"},
		{"tables are found in VALUES", "values ((select 1 from a))", "SELECT(public.a) reads"},
		{"tables are found in CASE and arrays", "select case when true then array(select id from a) else array[(select 1 from b)] end", "SELECT(public.a public.b) reads"},
		{"tables are found in TABLESAMPLE arguments", "select * from a tablesample system ((select 1 from b))", "SELECT(public.a public.b) reads"},
		{"tables are found in XMLTABLE", "select * from xmltable('/r' passing (select x from a) columns id int)", "SELECT(public.a) reads"},
		{"tables are found in JSON constructors", "select json_array(select id from a)", "SELECT(public.a) reads"},
		{"tables are found in JSON_OBJECT arguments", "select json_object('k' : (select 1 from a))", "SELECT(public.a) reads"},
		{"a locking SELECT is told from a plain one and does not only read", "select * from orders for update", "SELECT FOR UPDATE(public.orders)"},
		{"FOR UPDATE OF names no further table", "select * from orders o for no key update of o skip locked", "SELECT FOR NO KEY UPDATE(public.orders)"},
		{"a function in FROM is no table", "select * from generate_series(1, 3) g", "SELECT() reads"},
		{"a SELECT of an unknown function may write", "select app.refresh(1)", "SELECT()"},
		{"ROWS FROM is walked", "select * from rows from (generate_series(1, (select 2 from a)), now()) x", "SELECT(public.a) reads"},
	})
}

func TestWith(t *testing.T) {
	recognises(t, []recognised{
		{"a name of a WITH is no table", "with w as (select * from a) select * from w", "SELECT(public.a) reads"},
		{"a WITH query of a table's name reads the table inside and itself outside", "with a as (select * from a) select * from a", "SELECT(public.a) reads"},
		{"a later WITH query sees the earlier one", "with x as (select 1 from a), y as (select * from x) select * from y", "SELECT(public.a) reads"},
		{"an earlier one does not see the later", "with y as (select * from x), x as (select 1 from a) select * from y", "SELECT(public.x public.a) reads"},
		{"with RECURSIVE it does", "with recursive y as (select * from x), x as (select 1 from a) select * from y", "SELECT(public.a) reads"},
		{"a qualified name is never a WITH query", "with a as (select 1) select * from public.a", "SELECT(public.a) reads"},
		{"a WITH query is not visible outside its query", "select * from (with w as (select 1 from a) select * from w) s, w", "SELECT(public.a public.w) reads"},
		{"a data-modifying WITH is a command of its own", "with d as (delete from orders returning *) select * from d", "SELECT(); DELETE(+public.orders) unfiltered"},
		{"a data-modifying WITH deep inside", "select * from a where id in (with u as (update b set x = 1 where id = 2 returning id) select id from u)", "SELECT(public.a); UPDATE(+public.b)"},
		{"the target of a DELETE is a table even under a WITH of its name", "with a as (select 1) delete from a where id = 1", "DELETE(+public.a); SELECT() reads in DELETE"},
	})
}

func TestLexicalTricks(t *testing.T) {
	recognises(t, []recognised{
		{"nested comments hide nothing", "select 1 /* /* drop */ drop table t */ from a", "SELECT(public.a) reads"},
		{"a line comment ends at a carriage return", "select 1 from a -- x\r; drop table t", "SELECT(public.a) reads; DROP TABLE(+public.t)"},
		{"a dollar quote is a constant", "select $x$ '; drop table t; $y$ $x$ from a", "SELECT(public.a) reads"},
		{"a dollar quote's tag may hold digits", "select $a1$ ; drop table t; $a1$", "SELECT() reads"},
		{"a dollar inside an identifier quotes nothing", "select 1 as a$b from t; drop table u --$b", "SELECT(public.t) reads; DROP TABLE(+public.u)"},
		{"an escape string continues over lines as one", "select E'a'\n'\\'; drop table t --' from a", "SELECT(public.a) reads"},
		{"a plain string continues over lines as a plain one", "select 'a'\n'\\'; drop table t --' from a", "SELECT() reads; DROP TABLE(+public.t)"},
		{"an escaped quote ends no escape string", "select E'\\'; drop table t --' from a", "SELECT(public.a) reads"},
		{"a plain string's backslash is a backslash", "select 'a\\'; drop table t --'", "SELECT() reads; DROP TABLE(+public.t)"},
		{"a Unicode identifier is what it spells", "select * from U&\"d\\0061t\\+000061\"", "SELECT(public.data) reads"},
		{"a Unicode identifier with another escape", `select * from U&"d!0061ta" uescape '!'`, "SELECT(public.data) reads"},
		{"an over-long identifier is cut as the server cuts it", "select * from aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbb", "SELECT(public.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) reads"},
		{"keywords in odd case", "DeLeTe FrOm T", "DELETE(+public.t) unfiltered"},
		{"several statements are several commands", "begin; select 1 from a; drop table b; commit", "BEGIN() control reads; SELECT(public.a) reads; DROP TABLE(+public.b); COMMIT() control reads"},
		{"empty statements are none", ";;select 1;;", "SELECT() reads"},
	})
}
