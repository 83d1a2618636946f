package sql

import "testing"

func TestInsert(t *testing.T) {
	recognises(t, []recognised{
		{"INSERT with VALUES reads nothing", "insert into orders (id) values (1)", "INSERT(+public.orders)"},
		{"INSERT with DEFAULT VALUES", "insert into orders default values", "INSERT(+public.orders)"},
		{"INSERT ... SELECT reads, and is judged as both", "insert into log select * from orders", "INSERT(+public.log public.orders); SELECT(public.orders) reads in INSERT"},
		{"INSERT of subqueries in VALUES reads", "insert into log values ((select max(id) from orders))", "INSERT(+public.log public.orders); SELECT(public.orders) reads in INSERT"},
		{"an upsert is an UPDATE too", "insert into t (id) values (1) on conflict (id) do update set n = excluded.n where t.n < (select 1 from x)", "INSERT(+public.t public.x); UPDATE(+public.t public.x) in INSERT; SELECT(public.x) reads in UPDATE"},
		{"ON CONFLICT DO NOTHING is none", "insert into t values (1) on conflict do nothing", "INSERT(+public.t)"},
		{"INSERT RETURNING a subquery", "insert into t values (1) returning (select 2 from x)", "INSERT(+public.t public.x); SELECT(public.x) reads in INSERT"},
		{"INSERT with a WITH", "with w as (select 1 from a) insert into t select * from w", "INSERT(public.a +public.t); SELECT(public.a) reads in INSERT"},
	})
}

func TestUpdateAndDelete(t *testing.T) {
	recognises(t, []recognised{
		{"UPDATE with a condition on its table", "update t set a = 1 where id = 5", "UPDATE(+public.t)"},
		{"UPDATE without WHERE", "update t set a = 1", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by WHERE true", "update t set a = 1 where true", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a constant comparison", "update t set a = 1 where 1 = 1", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a function of no column", "update t set a = 1 where now() > '2000-01-01'", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a parameter", "update t set a = 1 where $1", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a column compared with itself", "update t set a = 1 where id = id", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a column compared with itself by another operator", "update t set a = 1 where t.id >= t.id", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by IS NOT DISTINCT FROM itself", "update t set a = 1 where id is not distinct from id", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by IN itself", "update t set a = 1 where id in (1, id)", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by OR true", "update t set a = 1 where id = 3 or true", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by OR a constant comparison", "update t set a = 1 where id = 3 or 'x' = 'x'", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a condition and its negation", "update t set a = 1 where id = 3 or not (id = 3)", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by equal or different", "update t set a = 1 where id = 3 or id <> 3", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by NULL or not NULL", "update t set a = 1 where x is null or x is not null", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by NOT of a negated OR", "update t set a = 1 where not (id = 3 and false)", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by LIKE anything", "update t set a = 1 where name like '%'", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a regular expression that matches anything", "update t set a = 1 where name ~ '.*'", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by a subquery that does not look at it", "update t set a = 1 where exists (select 1 from x where x.id = 1)", "UPDATE(+public.t public.x) unfiltered; SELECT(public.x) reads in UPDATE"},
		{"UPDATE of everything by the other table's condition", "update t set a = 1 from x where x.id = 7", "UPDATE(+public.t public.x) unfiltered"},
		{"DELETE of everything by a bare name that may be the other's", "delete from t using (select 1 as one) s where one = 1", "DELETE(+public.t) unfiltered; SELECT() reads in DELETE"},
		{"UPDATE of everything by a cast constant", "update t set a = 1 where 'true'::bool", "UPDATE(+public.t) unfiltered"},
		{"UPDATE of everything by COALESCE with constants", "update t set a = 1 where coalesce(null, true)", "UPDATE(+public.t) unfiltered"},
		{"UPDATE with an AND of which one part filters", "update t set a = 1 where true and id = 3", "UPDATE(+public.t)"},
		{"UPDATE with an OR of which all parts filter", "update t set a = 1 where id = 3 or id = 4", "UPDATE(+public.t)"},
		{"UPDATE with a correlated subquery", "update t set a = 1 where exists (select 1 from x where x.id = t.id)", "UPDATE(+public.t public.x); SELECT(public.x) reads in UPDATE"},
		{"UPDATE with IN a subquery", "update t set a = 1 where id in (select id from x)", "UPDATE(+public.t public.x); SELECT(public.x) reads in UPDATE"},
		{"UPDATE FROM joined by its alias", "update t as q set a = x.a from x where q.id = x.id", "UPDATE(+public.t public.x)"},
		{"UPDATE of a cursor's row", "update t set a = 1 where current of c", "UPDATE(+public.t)"},
		{"UPDATE by NOT of a comparison", "update t set a = 1 where not id = 3", "UPDATE(+public.t)"},
		{"UPDATE ... FROM reads the other table", "update t set a = x.a from x where t.id = x.id", "UPDATE(+public.t public.x)"},
		{"UPDATE from a subquery reads", "update t set (a, b) = (select 1, 2 from x) where id = 1", "UPDATE(+public.t public.x); SELECT(public.x) reads in UPDATE"},
		{"DELETE without WHERE", "delete from t", "DELETE(+public.t) unfiltered"},
		{"DELETE with a condition", "delete from t where id = 1", "DELETE(+public.t)"},
		{"DELETE USING reads the other table", "delete from t using x where t.id = x.id", "DELETE(+public.t public.x)"},
		{"DELETE of ONLY one table", "delete from only t where id = 1", "DELETE(+public.t)"},
	})
}

func TestMerge(t *testing.T) {
	recognises(t, []recognised{
		{"MERGE is each of its actions", "merge into t using s on t.id = s.id when matched and s.x then update set a = s.a when matched then delete when not matched then insert (id) values (s.id)", "MERGE(+public.t public.s); UPDATE(+public.t) in MERGE; DELETE(+public.t) in MERGE; INSERT(+public.t) in MERGE"},
		{"MERGE over a join that looks at nothing changes everything", "merge into t using (select 1) s on true when matched then delete", "MERGE(+public.t); SELECT() reads in MERGE; DELETE(+public.t) unfiltered in MERGE"},
		{"MERGE with a condition on the target", "merge into t using (select 1) s on true when matched and t.id = 3 then delete", "MERGE(+public.t); SELECT() reads in MERGE; DELETE(+public.t) in MERGE"},
		{"MERGE by source changes what the source lacks", "merge into t using s on t.id = s.id when not matched by source then delete", "MERGE(+public.t public.s); DELETE(+public.t) unfiltered in MERGE"},
		{"MERGE that does nothing", "merge into t using s on t.id = s.id when matched then do nothing", "MERGE(+public.t public.s)"},
	})
}
