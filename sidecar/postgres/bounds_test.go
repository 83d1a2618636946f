package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestLimitsHoldHoweverAResultIsFetched(t *testing.T) {
	for name, pg := range map[string]policy.Postgres{"nothing masked": allowAll(), "detectors and masked columns": masked(policy.MaskRedact)} {
		t.Run(name, func(t *testing.T) { limitsHold(t, pg) })
	}
}

func limitsHold(t *testing.T, pg policy.Postgres) {
	const over = "SELECT id FROM orders ORDER BY id" // 50 rows
	unlimited := pg
	pg.Limits.Rows = 10
	s := newSidecar(t, pg)
	ten := strings.TrimSpace(strings.Repeat("D ", 10))
	for name, test := range map[string]struct {
		runs []script
		want string // the last answer, rows without their values
	}{
		"by the extended protocol":               {[]script{{parse("", over), bind("", ""), execute("", 0), syncing}}, "1 2 " + ten + " E(54000) Z(I)"},
		"in portions, in one transaction":        {[]script{{q("BEGIN")}, {parse("", over), bind("p", ""), execute("p", 4), execute("p", 4), execute("p", 4), syncing}}, "1 2 D D D D s D D D D s D D E(54000) Z(T)"},
		"in portions, one message each":          {[]script{{q("BEGIN")}, {parse("", over), bind("p", ""), execute("p", 6), syncing}, {execute("p", 6), syncing}}, "D D D D E(54000) Z(T)"},
		"exactly as many as are allowed":         {[]script{{parse("", over+" LIMIT 10"), bind("", ""), execute("", 0), syncing}}, "1 2 " + ten + " C(SELECT 10) Z(I)"},
		"by FETCH":                               {[]script{{q("BEGIN; DECLARE c CURSOR FOR " + over)}, {q("FETCH 11 FROM c")}}, "T(1) " + ten + " E(54000) Z(T)"},
		"of a RETURNING":                         {[]script{{q("UPDATE orders SET memo = memo RETURNING id")}}, "T(1) " + ten + " E(54000) Z(I)"},
		"each statement of a string has its own": {[]script{{q(over + " LIMIT 10; " + over + " LIMIT 10")}}, "T(1) " + ten + " C(SELECT 10) T(1) " + ten + " C(SELECT 10) Z(I)"},
	} {
		t.Run(name, func(t *testing.T) {
			k := talk(t, s.connect(t, ""))
			var got string
			for _, messages := range test.runs {
				k.send(messages...)
				got = k.until("Z", messages.syncs())
			}
			words := strings.Fields(got)
			for i, w := range words {
				if strings.HasPrefix(w, "D(") {
					words[i] = "D"
				}
			}
			if got := strings.Join(words, " "); got != test.want {
				t.Fatalf("got  %s\nwant %s", got, test.want)
			}
			k.send(q("ROLLBACK"), q("SELECT 1"))
			if got := k.until("Z", 2); !strings.HasSuffix(got, "D(1) C(SELECT 1) Z(I)") {
				t.Fatal(got)
			}
		})
	}
	t.Run("a portal that is over its limit gives no more, whatever is asked of it", func(t *testing.T) {
		k := talk(t, s.connect(t, ""))
		k.send(q("BEGIN"), parse("", over), bind("p", ""), execute("p", 11), syncing)
		k.until("Z", 2)
		for range 3 {
			k.send(execute("p", 1), syncing)
			if got := k.until("Z", 1); got != "E(54000) Z(T)" {
				t.Fatal(got)
			}
		}
	})
	t.Run("who is over a limit reads that what was changed is changed", func(t *testing.T) {
		conn := s.connect(t, "")
		rows(t, conn, "BEGIN")
		_, err := query(conn, "UPDATE orders SET memo = 'over the limit' RETURNING id")
		wantError(t, err, "54000", "has run: what it changes is changed, unless its transaction is rolled back")
		if got := rows(t, conn, "SELECT count(*) FROM orders WHERE memo = 'over the limit'"); got[0][0] != "50" {
			t.Fatalf("%s rows were changed", got[0][0])
		}
		rows(t, conn, "ROLLBACK")
		_, err = query(conn, over)
		if e := wantError(t, err, "54000"); strings.Contains(e.Hint, "has run") {
			t.Fatal(e.Hint)
		}
	})
	t.Run("bytes, copied and in binary", func(t *testing.T) {
		pg := unlimited
		pg.Limits.Bytes = 4096
		s := newSidecar(t, pg)
		conn := s.connect(t, "")
		for _, format := range []string{"text", "csv", "binary"} {
			var b bytes.Buffer
			_, err := conn.CopyTo(context.Background(), &b, "COPY (SELECT repeat('x', 100) FROM generate_series(1, 100)) TO STDOUT (FORMAT "+format+")")
			wantError(t, err, "54000", "more than 4096 bytes", "limits.bytes")
			if b.Len() > 4096 {
				t.Errorf("%s: %d bytes came", format, b.Len())
			}
		}
		r := conn.ExecParams(context.Background(), "SELECT repeat('x', 100) FROM generate_series(1, 100)", nil, nil, nil, []int16{1}).Read()
		wantError(t, r.Err, "54000", "more than 4096 bytes")
		rows(t, conn, "SELECT 1")
	})
	t.Run("time, prepared and copied", func(t *testing.T) {
		pg := unlimited
		pg.Limits.StatementTimeoutMS = 200
		s := newSidecar(t, pg)
		conn := s.connect(t, "")
		wantError(t, extended(conn, "SELECT pg_sleep(600)"), "57014", "statement timeout")
		_, err := conn.CopyTo(context.Background(), &bytes.Buffer{}, "COPY (SELECT pg_sleep(600)) TO STDOUT")
		wantError(t, err, "57014", "statement timeout")
		for _, way := range []string{"SET LOCAL statement_timeout = 0", "BEGIN; SET LOCAL statement_timeout TO DEFAULT; SET statement_timeout = 0", "RESET ALL; SET statement_timeout = 0", "ALTER ROLE agent SET statement_timeout = 0",
			"UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'"} {
			other := s.connect(t, "")
			_, _ = query(other, way)
			_, err := query(other, "SELECT pg_sleep(600)")
			wantError(t, err, "57014", "statement timeout")
		}
		fresh := s.connect(t, "")
		rows(t, fresh, "DISCARD ALL")
		if got := rows(t, fresh, "SHOW statement_timeout"); got[0][0] != "200ms" {
			t.Fatalf("behind DISCARD ALL it is %s", got[0][0])
		}
	})
}

// TestHashedColumnsStillJoin hashes one number in columns of several tables, and joins on what comes out.
func TestHashedColumnsStillJoin(t *testing.T) {
	direct(t, `CREATE TABLE payers (id int, card text, plain text); INSERT INTO payers SELECT g, 'card ' || g % 20, 'card ' || g % 20 FROM generate_series(1, 40) g;
		CREATE TABLE payments (id int, with_card varchar(40), amount numeric(10,2)); INSERT INTO payments SELECT g, 'card ' || g % 30, g % 7 FROM generate_series(1, 60) g`)
	t.Cleanup(func() { direct(t, "DROP TABLE payers, payments") })
	pg := allowAll()
	pg.Masking = []policy.Masking{{Columns: []string{"public.payers.card", "public.payments.with_card", "public.payments.amount"}, Method: policy.MaskHash}}
	s := newSidecar(t, pg)
	type row struct{ id, hash string }
	read := func(t *testing.T, s *sidecar, sql string) (out []row) {
		for _, r := range rows(t, s.connect(t, ""), sql) {
			out = append(out, row{r[0], r[1]})
		}
		return out
	}
	joined := func(a, b []row) map[string]bool {
		pairs := make(map[string]bool)
		for _, x := range a {
			for _, y := range b {
				if x.hash == y.hash {
					pairs[x.id+" "+y.id] = true
				}
			}
		}
		return pairs
	}
	payers := read(t, s, "SELECT id, card FROM payers")
	payments := read(t, s, "SELECT id, with_card FROM payments")
	want := make(map[string]bool)
	for _, r := range direct(t, "SELECT p.id, q.id FROM payers p JOIN payments q ON p.plain = q.with_card") {
		want[r[0]+" "+r[1]] = true
	}
	got := joined(payers, payments)
	if len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%d pairs, want %d", len(got), len(want))
	}
	for _, r := range append(payers, payments...) {
		if strings.Contains(r.hash, "card") {
			t.Fatalf("it shows: %q", r.hash)
		}
	}
	t.Run("numbers too", func(t *testing.T) {
		a, b := read(t, s, "SELECT id, amount FROM payments WHERE id <= 20"), read(t, s, "SELECT id, amount FROM payments WHERE id > 20")
		want := direct(t, "SELECT count(*) FROM payments a JOIN payments b ON a.amount = b.amount WHERE a.id <= 20 AND b.id > 20")[0][0]
		if got := fmt.Sprint(len(joined(a, b))); got != want {
			t.Fatalf("%s pairs, want %s", got, want)
		}
	})
	t.Run("another sidecar has another key, by which nothing is recognised", func(t *testing.T) {
		if got := joined(payers, read(t, newSidecar(t, pg), "SELECT id, card FROM payers")); len(got) != 0 {
			t.Fatalf("%d pairs", len(got))
		}
	})
}
