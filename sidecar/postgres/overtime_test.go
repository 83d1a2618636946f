package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// lifting is code of the server that sets what SET is refused.
const lifting = "DO $$ BEGIN PERFORM set_config('statement_timeout', '0', false); END $$"

func TestNoCodeOfTheServerLiftsTheTimeLimit(t *testing.T) {
	pg := allowAll()
	pg.Limits = policy.Limits{StatementTimeoutMS: 500}
	s := newSidecar(t, pg)
	for name, test := range map[string]struct{ before, sql string }{
		"of the statements behind it":          {lifting, "SELECT pg_sleep(300)"},
		"of those behind it in a query string": {"SELECT 1", lifting + "; SELECT 1; SELECT pg_sleep(300)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := s.connect(t, "")
			rows(t, conn, test.before)
			_, err := query(conn, test.sql)
			wantError(t, err, "57014", "ran for longer than 500ms", "limits.statementTimeout")
			rows(t, conn, "SELECT 1")
			results := s.log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, "ran for longer than 500ms") })
			if len(results) == 0 || results[0].SQLSTATE != "57014" {
				t.Errorf("recorded is %+v", results)
			}
		})
	}
	t.Run("in a pipeline", func(t *testing.T) {
		t.Parallel()
		conn := s.connect(t, "")
		rows(t, conn, lifting)
		k := talk(t, conn)
		k.send(parse("", "SELECT pg_sleep(300)"), bind("", ""), execute("", 0), syncing, q("SELECT 7"))
		if got := k.until("Z", 2); !strings.HasSuffix(got, "E(57014) Z(I) T(1) D(7) C(SELECT 1) Z(I)") {
			t.Fatal(got)
		}
	})
	t.Run("in a pipeline without an end", func(t *testing.T) {
		t.Parallel()
		conn := s.connect(t, "")
		rows(t, conn, lifting)
		k := talk(t, conn)
		k.send(parse("", "SELECT pg_sleep(300)"), bind("", ""), execute("", 0))
		if got := k.until("E", 1); !strings.HasSuffix(got, "E(57014)") {
			t.Fatal(got)
		}
	})
	t.Run("before a COPY in the same string", func(t *testing.T) {
		t.Parallel()
		conn := s.connect(t, "")
		rows(t, conn, lifting)
		k := talk(t, conn)
		k.send(q("SELECT pg_sleep(300); COPY orders FROM STDIN"))
		if got := k.until("Z", 1); !strings.HasSuffix(got, "E(57014) Z(I)") {
			t.Fatal(got)
		}
	})
	t.Run("of a COPY that the agent does not end", func(t *testing.T) {
		t.Parallel()
		conn := s.connect(t, "")
		rows(t, conn, lifting)
		k := talk(t, conn)
		k.send(parse("", "COPY orders FROM STDIN"), bind("", ""), execute("", 0))
		// A server that waits for the data of a COPY heeds a cancel request as the next of it comes.
		if got := k.until("E", 1); !strings.HasSuffix(got, "G E(57P01)") {
			t.Fatal(got)
		}
	})
	t.Run("of what is described before it runs", func(t *testing.T) {
		t.Parallel()
		m := allowAll()
		m.Masking, m.Limits = []policy.Masking{{Detectors: []string{"Email"}}}, pg.Limits
		conn := newSidecar(t, m).connect(t, "")
		rows(t, conn, lifting)
		k := talk(t, conn)
		k.send(parse("", "SELECT pg_sleep(300)"), bind("", ""), flush)
		k.until("2", 1)
		k.send(execute("", 0), syncing)
		if got := k.until("Z", 1); !strings.HasSuffix(got, "E(57014) Z(I)") {
			t.Fatal(got)
		}
	})
	t.Run("where it does not let itself be cancelled", func(t *testing.T) {
		t.Parallel()
		conn := s.connect(t, "")
		rows(t, conn, lifting)
		// A cancelled backend gets its signal twice, and the second may come while the first is caught.
		_, err := query(conn, `DO $$ BEGIN LOOP BEGIN
				LOOP BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
			EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$`)
		wantError(t, err, "57P01", "went on when it was cancelled")
	})
	t.Run("while what the server has done waits for a Sync", func(t *testing.T) {
		t.Parallel()
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "SELECT 7"), bind("", ""), execute("", 0))
		time.Sleep(4 * time.Second)
		k.send(syncing)
		if got := k.until("Z", 1); !strings.HasSuffix(got, "D(7) C(SELECT 1) Z(I)") {
			t.Fatal(got)
		}
	})
}
