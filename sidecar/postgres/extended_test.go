package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestSameAsDirect runs scripts of messages through the sidecar and past it and wants the same answers.
func TestSameAsDirect(t *testing.T) {
	scripts := map[string][]script{
		"parse, bind, describe, execute in one": {{parse("", "SELECT $1::int + 1"), bind("", "", "41"), describe('P', ""), execute("", 0), syncing}},
		"prepared once, run twice": {
			{parse("s1", "SELECT id, name FROM customers WHERE id = $1"), describe('S', "s1"), syncing},
			{bind("", "s1", "1"), execute("", 0), syncing}, {bind("", "s1", "2"), execute("", 0), syncing},
			{closing('S', "s1"), syncing}, {bind("", "s1", "2"), syncing},
		},
		"a name used twice":                             {{parse("s2", "SELECT 1"), parse("s2", "SELECT 2"), syncing}, {bind("", "s2"), execute("", 0), syncing}},
		"a name closed and used again":                  {{parse("s3", "SELECT 1"), closing('S', "s3"), parse("s3", "SELECT 2"), bind("", "s3"), execute("", 0), syncing}},
		"a portal read in parts":                        {{parse("", "SELECT id FROM orders ORDER BY id LIMIT 5"), bind("p", ""), execute("p", 2), execute("p", 2), execute("p", 2), execute("p", 2), syncing}},
		"portals end with their transaction":            {{q("BEGIN")}, {parse("", "SELECT 1"), bind("p", ""), syncing}, {execute("p", 0), syncing}, {q("COMMIT")}, {execute("p", 0), syncing}},
		"an error skips to the sync":                    {{parse("", "SELECT 1"), bind("", ""), execute("", 0), parse("", "SELECT 1/0"), bind("", ""), execute("", 0), parse("x", "SELECT 3"), syncing}, {bind("", "x"), syncing}},
		"syntax errors in a pipeline":                   {{parse("", "SELECT 1"), bind("", ""), execute("", 0), parse("", "SELEC 2"), bind("", ""), execute("", 0), syncing}, {q("SELECT 1")}},
		"pipelined segments, one fails":                 {{parse("", "SELECT 1"), bind("", ""), execute("", 0), syncing, parse("", "SELECT 1/0"), bind("", ""), execute("", 0), syncing, parse("", "SELECT 3"), bind("", ""), execute("", 0), syncing}},
		"pipelined simple queries":                      {{q("SELECT 1"), q("SELECT 1/0"), q(""), q("SELECT 3; SELECT 4")}},
		"simple query in a failed transaction":          {{q("BEGIN")}, {q("SELECT 1/0")}, {q("SELECT 1")}, {q("ROLLBACK")}},
		"describe of what does not exist":               {{describe('S', "nothing"), syncing}, {describe('P', "nothing"), syncing}, {execute("nothing", 0), syncing}, {closing('P', "nothing"), syncing}},
		"unnamed statement that does not exist":         {{q("SELECT 1")}, {bind("", ""), syncing}},
		"several commands in one parse":                 {{parse("", "SELECT 1; SELECT 2"), syncing}},
		"wrong number of values":                        {{parse("", "SELECT $1::int"), bind("", ""), execute("", 0), syncing}},
		"statements without rows":                       {{q("CREATE TEMP TABLE mine (id int)")}, {parse("", "INSERT INTO mine VALUES (7)"), bind("", ""), describe('P', ""), execute("", 0), syncing}, {q("DELETE FROM mine WHERE id = 7")}},
		"returning":                                     {{q("CREATE TEMP TABLE mine (id int)")}, {parse("", "INSERT INTO mine VALUES (8) RETURNING id"), bind("", ""), execute("", 0), syncing}, {q("DELETE FROM mine WHERE id = 8 RETURNING id")}},
		"an implicit transaction is undone by an error": {{parse("", "INSERT INTO scratch VALUES (9, 'x')"), bind("", ""), execute("", 0), parse("", "SELECT 1/0"), bind("", ""), execute("", 0), syncing}, {q("SELECT count(*) FROM scratch WHERE id = 9")}},
		"prepare and execute by SQL":                    {{q("PREPARE a(int) AS SELECT name FROM customers WHERE id = $1")}, {q("EXECUTE a(1)")}, {parse("", "EXECUTE a(2)"), bind("", ""), execute("", 0), syncing}, {bind("", "a", "3"), execute("", 0), syncing}, {q("EXPLAIN (COSTS OFF) EXECUTE a(1)")}, {q("DEALLOCATE a")}, {q("EXECUTE a(1)")}},
		"prepare and execute in one string":             {{q("PREPARE b AS SELECT 1; EXECUTE b; DEALLOCATE b")}},
		"prepared by the protocol, executed by SQL":     {{parse("c", "SELECT name FROM customers WHERE id = $1"), syncing}, {q("EXECUTE c(2)")}, {q("DEALLOCATE ALL")}, {bind("", "c", "1"), syncing}},
		"prepared in the pipeline before":               {{q("PREPARE d AS SELECT 5"), bind("", "d"), execute("", 0), syncing, q("DEALLOCATE d"), bind("", "d"), syncing}},
		"cursors":                                       {{q("BEGIN")}, {q("DECLARE c CURSOR FOR SELECT id, name FROM customers ORDER BY id")}, {q("FETCH 2 FROM c")}, {parse("", "FETCH c"), bind("", ""), execute("", 0), syncing}, {execute("c", 0), syncing}, {q("MOVE BACKWARD ALL IN c")}, {q("FETCH c; CLOSE c")}, {q("COMMIT")}, {q("FETCH c")}},
		"a cursor that a function opens":                {{q("BEGIN")}, {q("CREATE FUNCTION pg_temp.opens() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor := 'rc'; BEGIN OPEN r FOR SELECT id, name FROM customers ORDER BY id; RETURN r; END $$")}, {q("SELECT pg_temp.opens()")}, {q("FETCH 2 FROM rc")}, {parse("", "FETCH rc"), bind("", ""), describe('P', ""), execute("", 0), syncing}, {q("ROLLBACK")}, {q("FETCH rc")}},
		"a cursor that stays":                           {{q("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT 1; COMMIT")}, {q("FETCH h")}, {q("CLOSE ALL")}},
		"notices":                                       {{q("DROP TABLE IF EXISTS no_such_table")}, {q("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")}},
		"settings":                                      {{q("SET search_path = pg_catalog; SHOW search_path")}, {q("SELECT count(*) FROM pg_class WHERE false")}, {q("BEGIN; SET LOCAL search_path = public")}, {q("SHOW search_path")}, {q("ROLLBACK")}, {q("SHOW search_path")}, {q("RESET search_path")}, {q("SELECT name FROM customers WHERE id = 1")}},
		"isolation after a change of path":              {{q("BEGIN")}, {q("SET LOCAL search_path = public")}, {q("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")}, {q("COMMIT")}},
		"settings in a pipeline":                        {{parse("", "SET search_path = pg_catalog, public"), bind("", ""), execute("", 0), parse("", "SELECT name FROM customers WHERE id = 1"), bind("", ""), execute("", 0), syncing}, {q("RESET search_path")}},
		"discard":                                       {{parse("gone", "SELECT 1"), syncing}, {q("DISCARD ALL")}, {bind("", "gone"), syncing}},
		"flush":                                         {{parse("", "SELECT 1"), bind("", ""), execute("", 0), flush, syncing}},
		"savepoints":                                    {{q("BEGIN; SAVEPOINT a")}, {q("SELECT 1/0")}, {q("ROLLBACK TO a")}, {q("SELECT 1; COMMIT")}},
		"a portal closed, and others left":              {{q("BEGIN")}, {parse("", "SELECT 1"), bind("p", ""), bind("r", ""), closing('P', "p"), execute("r", 0), syncing}, {execute("p", 0), syncing}, {q("ROLLBACK")}},
		"a portal described, closed and bound again":    {{parse("s", "SELECT id FROM orders ORDER BY id LIMIT 3"), bind("p", "s"), describe('P', "p"), execute("p", 1), closing('P', "p"), bind("p", "s"), execute("p", 1), syncing}},
		"a statement that closes under its portal":      {{parse("s", "SELECT 7"), bind("p", "s"), closing('S', "s"), execute("p", 0), syncing}},
		"two-phase commit":                              {{q("BEGIN; INSERT INTO scratch VALUES (60, 'x')")}, {q("PREPARE TRANSACTION 'through'")}, {q("ROLLBACK PREPARED 'through'")}, {q("SELECT count(*) FROM scratch WHERE id = 60")}},
	}
	s := newSidecar(t, allowAll())
	for name, runs := range scripts {
		t.Run(name, func(t *testing.T) { sameAsDirect(t, s, runs) })
	}
}

// sameAsDirect says the same past the sidecar and then through it, and wants the same answers, byte by byte. It returns
// the last of them.
func sameAsDirect(t *testing.T, s *sidecar, runs []script) (last string) {
	t.Helper()
	past, err := pgconn.Connect(context.Background(), server.DSN("agent", agentPassword, "app"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	plain := talk(t, past)
	for _, messages := range runs {
		plain.send(messages...)
		want = append(want, plain.whole("Z", messages.syncs()))
	}
	plain.conn.Close()
	through := talk(t, s.connect(t, ""))
	for i, messages := range runs {
		through.send(messages...)
		if last = through.whole("Z", messages.syncs()); last != want[i] {
			t.Fatalf("through the sidecar\n%s\npast it\n%s", last, want[i])
		}
	}
	return last
}

func TestRefusalsInPipelines(t *testing.T) {
	pg := allowAll()
	pg.Rules = []policy.Rule{
		{Name: "no-drop", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny, Message: "no"},
		{Name: "no-orders", Match: policy.Match{Tables: []string{"public.orders"}}, Action: policy.Deny, Message: "no orders"},
	}
	s := newSidecar(t, pg)
	tests := map[string]struct {
		runs []script
		want []string
	}{
		"at its parse": {
			[]script{{parse("", "DROP TABLE customers"), bind("", ""), execute("", 0), syncing}, {q("SELECT 1")}},
			[]string{"E(42501) Z(I)", "T(1) D(1) C(SELECT 1) Z(I)"},
		},
		"behind statements that ran, which are undone": {
			[]script{{parse("", "INSERT INTO scratch VALUES (20, 'x')"), bind("", ""), execute("", 0), parse("", "DROP TABLE customers"), bind("", ""), execute("", 0), parse("", "SELECT 1"), syncing},
				{q("SELECT count(*) FROM scratch WHERE id = 20")}},
			[]string{"1 2 C(INSERT 0 1) E(42501) Z(I)", "T(1) D(0) C(SELECT 1) Z(I)"},
		},
		"behind reads whose answers come first": {
			[]script{{parse("", "SELECT 1"), bind("", ""), parse("x", "DROP TABLE customers"), syncing}, {bind("", "x"), syncing}},
			[]string{"1 2 E(42501) Z(I)", "E(26000) Z(I)"},
		},
		"inside a transaction, which stays open": {
			[]script{{q("BEGIN")}, {parse("", "INSERT INTO scratch VALUES (21, 'x')"), bind("", ""), execute("", 0), syncing}, {parse("", "DROP TABLE customers"), bind("", ""), execute("", 0), syncing}, {q("ROLLBACK")}},
			[]string{"C(BEGIN) Z(T)", "1 2 C(INSERT 0 1) Z(T)", "E(42501) Z(T)", "C(ROLLBACK) Z(I)"},
		},
		"between pipelined segments": {
			[]script{{parse("", "SELECT 1"), bind("", ""), execute("", 0), syncing, parse("", "DROP TABLE customers"), syncing, parse("", "SELECT 3"), bind("", ""), execute("", 0), syncing}},
			[]string{"1 2 D(1) C(SELECT 1) Z(I) E(42501) Z(I) 1 2 D(3) C(SELECT 1) Z(I)"},
		},
		"between pipelined simple queries": {
			[]script{{q("SELECT 1"), q("DROP TABLE customers"), q("SELECT 3")}},
			[]string{"T(1) D(1) C(SELECT 1) Z(I) E(42501) Z(I) T(1) D(3) C(SELECT 1) Z(I)"},
		},
		"a simple query in an extended pipeline": {
			[]script{{parse("", "SELECT 1"), bind("", ""), execute("", 0), q("DROP TABLE customers"), q("SELECT 3")}},
			[]string{"1 2 D(1) C(SELECT 1) E(42501) Z(I) T(1) D(3) C(SELECT 1) Z(I)"},
		},
		"only one error where the server fails first": {
			[]script{{parse("", "SELECT 1/0"), bind("", ""), execute("", 0), parse("", "DROP TABLE customers"), syncing}, {q("SELECT 1")}},
			[]string{"1 E(22012) Z(I)", "T(1) D(1) C(SELECT 1) Z(I)"},
		},
		"the error comes with a flush, before the sync": {
			[]script{{parse("", "SELECT 1"), bind("", ""), parse("", "DROP TABLE customers"), flush}},
			[]string{"1 2 E(42501)"},
		},
		"a statement prepared by SQL is judged where it is prepared": {
			[]script{{q("PREPARE p AS DELETE FROM orders")}, {q("EXECUTE p")}},
			[]string{"E(42501) Z(I)", "E(26000) Z(I)"},
		},
		"function calls": {
			[]script{{&pgproto3.FunctionCall{Function: 1}, q("SELECT 1")}},
			[]string{"E(42501) Z(I) T(1) D(1) C(SELECT 1) Z(I)"},
		},
		"names that are too long": {
			[]script{{parse(strings.Repeat("n", 64), "SELECT 1"), syncing}, {bind(strings.Repeat("n", 64), ""), syncing}},
			[]string{"E(42622) Z(I)", "E(42622) Z(I)"},
		},
		"pinned settings": {
			[]script{{q("SET standard_conforming_strings = off")}, {q("SET client_encoding = LATIN1")}, {q("SELECT 1")}},
			[]string{"E(42501) Z(I)", "E(42501) Z(I)", "T(1) D(1) C(SELECT 1) Z(I)"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := talk(t, s.connect(t, ""))
			for i, messages := range test.runs {
				k.send(messages...)
				kind, n := "Z", messages.syncs()
				if n == 0 {
					kind, n = "E", 1
				}
				if messages.syncs() == 1 && strings.Count(test.want[i], "Z(") == 2 {
					n = 2
				}
				if got := k.until(kind, n); got != test.want[i] {
					t.Fatalf("got  %s\nwant %s", got, test.want[i])
				}
			}
		})
	}
	t.Run("a policy that changes refuses what was prepared before", func(t *testing.T) {
		k := talk(t, s.connect(t, ""))
		k.send(parse("s", "SELECT name FROM customers WHERE id = 1"), syncing)
		if got := k.until("Z", 1); got != "1 Z(I)" {
			t.Fatal(got)
		}
		k.send(bind("", "s"), execute("", 0), syncing)
		if got := k.until("Z", 1); got != "2 D(Ada) C(SELECT 1) Z(I)" {
			t.Fatal(got)
		}
		before := s.destination.Load()
		defer s.destination.Store(before)
		pg.Rules = []policy.Rule{{Name: "none", Action: policy.Deny, Message: "nothing any more"}}
		s.destination.Store(destination(t, pg))
		k.send(bind("", "s"), execute("", 0), syncing)
		if got := k.until("Z", 1); got != "E(42501) Z(I)" {
			t.Fatal(got)
		}
		s.destination.Store(nil)
		k.send(q("SELECT 1"))
		if got := k.until("Z", 1); !strings.HasPrefix(got, "E(42501) ") || strings.Contains(got, "Z(") {
			t.Fatalf("a session without a policy goes on: %s", got)
		}
	})
}
