package sql

import (
	"errors"
	"testing"
	"time"
)

// slow is far more than any input of a fuzzer takes, also on a busy machine; what takes longer does not end.
const slow = 20 * time.Second

// FuzzParse: any bytes give commands or one of the two errors, soon, and every statement has a command.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", ";", "select 1", "select * from a join b using (id) where x = $1", "insert into t select 1 on conflict do nothing",
		"with recursive w as (select 1 union all select 2 from w) select * from w", "merge into t using s on true when matched then delete",
		"copy t (a) to stdout (format csv, force_quote *)", "create schema s create table t (id int)", "set search_path to a, b",
		"select set_config('search_path', 'a,\"b', true)", "do $x$ begin end $x$", "create table t (like a including all) partition by list (x)",
		"drop function f(int), g(text)", "grant select (a) on t to public", "explain (analyze, format json) execute p(1)",
		"create rule r as on insert to t do instead (delete from a; insert into b values (new.id))", "select U&\"d\\0061t\" uescape '!'",
		"select 'a' /* /* */ */ -- x\r\n, E'\\'' , $a$ $a$", "alter table only t alter column a type int using (a::int), add check (a > 1)",
	} {
		f.Add(seed)
	}
	st := DefaultState()
	f.Fuzz(func(t *testing.T, query string) {
		start := time.Now()
		parsed, err := Parse(query, st)
		if took := time.Since(start); took > slow {
			t.Errorf("parsing took %v", took)
		}
		if err != nil {
			var syntax *SyntaxError
			var unrecognised *UnrecognisedError
			if !errors.As(err, &syntax) && !errors.As(err, &unrecognised) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		count := 0
		for _, s := range parsed.Statements {
			if len(s.Commands) == 0 {
				t.Errorf("a statement without a command: %q", s.Text)
			}
			if s.Start < 0 || s.End > len(query) || s.Start > s.End || query[s.Start:s.End] != s.Text {
				t.Errorf("text %q is not at %d to %d", s.Text, s.Start, s.End)
			}
			count += len(s.Commands)
		}
		if count != len(parsed.Commands) {
			t.Errorf("%d commands of statements, %d in all", count, len(parsed.Commands))
		}
		for _, c := range parsed.Commands {
			if (c.SQL == nil) == (c.Unrecognised == "") {
				t.Errorf("a command that is neither understood nor not: %+v", c)
			}
		}
	})
}

// FuzzLineage: every statement has a shape, soon; and without a catalogue a column of a table is never clear.
func FuzzLineage(f *testing.F) {
	for _, seed := range []string{
		"select * from customers", "select c.* from (select id, card_number as c from customers) c", "select (c).card_number from customers c",
		"with recursive w(a) as (select card_number from customers union all select a from w) select * from w",
		"select * from customers natural join cv full join orders using (id)", "select a from cv2, lateral (select c as a) x",
		"insert into orders (note) select card_number from customers returning *", "copy cv to stdout", "explain select 1",
		"select json_arrayagg(x order by x) from unnest(array[1]) x", "select grouping(name) from customers group by rollup (name, 1)",
		"update orders set (note, total) = (select name, 1 from customers) returning *", "select distinct on (1) *, xmlforest(name) from customers",
		"merge into orders using customers on true when matched then delete returning *", "table customers order by 3 limit (select 1)",
		"select * from rows from (generate_series(1,2), json_each('{}')) with ordinality as x(a, b, c, d)", "values (1), ((select card_number from customers))",
	} {
		f.Add(seed)
	}
	st := DefaultState()
	p := cards(f)
	f.Fuzz(func(t *testing.T, query string) {
		parsed, err := Parse(query, st)
		if err != nil {
			return
		}
		for i := range parsed.Statements {
			s := &parsed.Statements[i]
			start := time.Now()
			known, unknown := s.Lineage(p, shop), s.Lineage(p, nil)
			if took := time.Since(start); took > slow {
				t.Errorf("tracing took %v", took)
			}
			for n := range known.Columns {
				a, b := known.Column(n, len(known.Columns)), unknown.Column(n, len(known.Columns))
				if a.Proof != Clear && b.Proof == Clear {
					t.Errorf("column %d is clear without a catalogue and not with one: %+v, %+v", n, a, b)
				}
			}
		}
	})
}
