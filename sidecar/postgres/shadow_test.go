package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestShadowed holds what a prepared statement is judged by where the server may still run the plan of a relation that
// another has come to stand before.
func TestShadowed(t *testing.T) {
	setUp := func(t *testing.T, sql string) {
		direct(t, "CREATE SCHEMA shade; "+sql)
		t.Cleanup(func() { direct(t, "DROP SCHEMA shade CASCADE") })
	}
	const prepare = "PREPARE p AS SELECT '<' || card_number FROM customers ORDER BY id LIMIT 1"
	const shadow = "CREATE TABLE shade.customers (id int, card_number text); INSERT INTO shade.customers VALUES (1, 'plain')"
	masked := allowAll()
	masked.Masking = []policy.Masking{{Columns: []string{"public.customers.card_number"}, Method: policy.MaskRedact}}
	hidden := func(t *testing.T, got [][]string) {
		t.Helper()
		if len(got) != 1 || got[0][0] != "********" {
			t.Errorf("got %q", got)
		}
	}
	plain := func(t *testing.T, got [][]string) {
		t.Helper()
		if len(got) != 1 || got[0][0] != "<plain" {
			t.Errorf("got %q", got)
		}
	}
	t.Run("the table of its plan stays masked behind a new one", func(t *testing.T) {
		setUp(t, "")
		conn := newSidecar(t, masked).connect(t, "")
		rows(t, conn, "SET search_path = shade, public")
		rows(t, conn, prepare)
		hidden(t, rows(t, conn, "EXECUTE p"))
		rows(t, conn, shadow)
		hidden(t, rows(t, conn, "EXECUTE p"))
		rows(t, conn, "DEALLOCATE p")
		rows(t, conn, prepare)
		plain(t, rows(t, conn, "EXECUTE p"))
	})
	t.Run("a table that stood before the masked one all along is clear", func(t *testing.T) {
		setUp(t, shadow)
		conn := newSidecar(t, masked).connect(t, "")
		rows(t, conn, "SET search_path = shade, public")
		rows(t, conn, prepare)
		plain(t, rows(t, conn, "EXECUTE p"))
		rows(t, conn, "CREATE TABLE shade.other (id int)")
		plain(t, rows(t, conn, "EXECUTE p"))
	})
	t.Run("another search_path makes the server plan anew, and counts alone", func(t *testing.T) {
		setUp(t, shadow)
		conn := newSidecar(t, masked).connect(t, "")
		rows(t, conn, prepare)
		for range 2 {
			rows(t, conn, "SET search_path = public")
			hidden(t, rows(t, conn, "EXECUTE p"))
			rows(t, conn, "SET search_path = shade")
			plain(t, rows(t, conn, "EXECUTE p"))
		}
	})
	t.Run("a rule on the table of its plan holds behind a new one", func(t *testing.T) {
		setUp(t, "")
		s := newSidecar(t, unfiltered(0, "Refuse"))
		conn := s.connect(t, "")
		rows(t, conn, "SET search_path = shade, public")
		rows(t, conn, "PREPARE p AS UPDATE notes SET body = body WHERE id = 1")
		rows(t, conn, "CREATE TABLE shade.notes (id int, body text)")
		_, err := query(conn, "EXECUTE p")
		wantError(t, err, "42501", "apr-1")
		rows(t, conn, "UPDATE notes SET body = body WHERE id = 1")
	})
}
