package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func TestSimpleQueries(t *testing.T) {
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "no-schema-change", Match: policy.Match{Commands: []string{"DROP", "TRUNCATE"}}, Action: policy.Deny,
		Message: "schema changes go through migrations"}}
	s := newSidecar(t, pg)
	conn := s.connect(t, "application_name=test")

	t.Run("a query is answered as the server answers it", func(t *testing.T) {
		got := rows(t, conn, "SELECT id, name FROM customers ORDER BY id")
		if len(got) != 3 || got[0][1] != "Ada" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("the agent is the leased user, not the one it claims to be", func(t *testing.T) {
		if got := rows(t, conn, "SELECT current_user"); got[0][0] != "agent" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("a refused statement is answered with policy, rule and way out, and the session goes on", func(t *testing.T) {
		_, err := query(conn, "DROP TABLE customers")
		wantError(t, err, "42501", "schema changes go through migrations", "prod/billing", "no-schema-change")
		if conn.TxStatus() != 'I' {
			t.Fatalf("transaction status %c", conn.TxStatus())
		}
		rows(t, conn, "SELECT 1")
	})
	t.Run("one refused statement of a query string refuses all of it", func(t *testing.T) {
		_, err := query(conn, "INSERT INTO scratch VALUES (1, 'x'); DROP TABLE customers")
		wantError(t, err, "42501")
		if got := direct(t, "SELECT count(*) FROM scratch"); got[0][0] != "0" {
			t.Fatal("the statement before the refused one ran")
		}
	})
	t.Run("a refusal leaves an open transaction open", func(t *testing.T) {
		rows(t, conn, "BEGIN")
		_, err := query(conn, "TRUNCATE customers")
		wantError(t, err, "42501")
		if conn.TxStatus() != 'T' {
			t.Fatalf("transaction status %c", conn.TxStatus())
		}
		rows(t, conn, "SELECT 1")
		rows(t, conn, "COMMIT")
		if conn.TxStatus() != 'I' {
			t.Fatalf("transaction status %c", conn.TxStatus())
		}
	})
	t.Run("a syntax error is the server's own, with its position, and fails the transaction", func(t *testing.T) {
		_, err := query(conn, "SELECT 1 FORM t")
		_, want := queryDirect(t, "SELECT 1 FORM t")
		e, w := wantError(t, err, "42601"), wantError(t, want, "42601")
		if e.Message != w.Message || e.Position != w.Position {
			t.Fatalf("got %q at %d, want %q at %d", e.Message, e.Position, w.Message, w.Position)
		}
		rows(t, conn, "BEGIN")
		_, err = query(conn, "SELEC 1")
		wantError(t, err, "42601", "syntax error at or near \"SELEC\"")
		if conn.TxStatus() != 'E' {
			t.Fatalf("transaction status %c", conn.TxStatus())
		}
		rows(t, conn, "ROLLBACK")
	})
	t.Run("an error of the server's passes", func(t *testing.T) {
		_, err := query(conn, "SELECT * FROM missing")
		wantError(t, err, "42P01", "missing")
	})
	t.Run("an empty query is an empty query", func(t *testing.T) {
		if _, err := query(conn, ""); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("statements, verdicts and results are recorded", func(t *testing.T) {
		denied := s.log.Find(record.KindCommand, func(e record.Event) bool { return e.Verdict == "Deny" })
		if len(denied) == 0 || denied[0].Text != "DROP TABLE customers" || denied[0].Rule != "no-schema-change" || denied[0].Generation != 3 || len(denied[0].Digest) != 64 {
			t.Fatalf("got %+v", denied)
		}
		allowed := s.log.Find(record.KindCommand, func(e record.Event) bool { return e.Verdict == "Allow" })
		results := s.log.Find(record.KindResult, func(e record.Event) bool { return e.Command == allowed[0].Command })
		if len(results) != 1 || results[0].Rows != 3 || results[0].Tag != "SELECT 3" {
			t.Fatalf("got %+v", results)
		}
		connects := s.log.Find(record.KindConnect, nil)
		if connects[0].User != "agent" || connects[0].Database != "app" || connects[0].Client != "test" || connects[0].Peer != "192.0.2.7:5432" {
			t.Fatalf("got %+v", connects[0])
		}
	})
}
