package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestNoticesOfTheDatabasesOwnCodeTellNothingProtected has code of the database say a masked column in a form that no
// detector knows, in every way that a client is told something beside its rows.
func TestNoticesOfTheDatabasesOwnCodeTellNothingProtected(t *testing.T) {
	direct(t, `CREATE FUNCTION tells_card() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
			RAISE NOTICE 'reversed %', (SELECT reverse(card_number) FROM public.customers WHERE id = 1)
				USING DETAIL = (SELECT reverse(card_number) FROM public.customers WHERE id = 1), HINT = (SELECT reverse(card_number) FROM public.customers WHERE id = 1);
			RETURN 1; END $$;
		CREATE FUNCTION warns_of_card() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'was %', reverse(OLD.card_number); RETURN NEW; END $$;
		CREATE TRIGGER warns BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION warns_of_card()`)
	t.Cleanup(func() { direct(t, "DROP TRIGGER warns ON customers; DROP FUNCTION tells_card, warns_of_card") })
	pg := masked("Redact")
	pg.Masking = pg.Masking[:1]
	s := newSidecar(t, pg)
	const reversed = "1111 1111 1111 1114"
	if !strings.Contains(direct(t, "SELECT reverse(card_number) FROM customers WHERE id = 1")[0][0], reversed) {
		t.Fatal("the secret is another")
	}
	for _, sql := range []string{
		"SELECT tells_card()", "SELECT 1 WHERE tells_card() = 1", "SELECT * FROM tells_card()", "COPY (SELECT tells_card()) TO STDOUT", "EXPLAIN ANALYZE SELECT tells_card()",
		"PREPARE p AS SELECT tells_card(); EXECUTE p", "BEGIN; DECLARE c CURSOR FOR SELECT tells_card(); FETCH c; COMMIT",
		// Undone, so that the rows stay where others expect them.
		"BEGIN; UPDATE customers SET name = name WHERE id = 1; ROLLBACK",
		"BEGIN; WITH u AS (UPDATE customers SET name = name WHERE id = 1 RETURNING 1) SELECT * FROM u; ROLLBACK",
		"BEGIN; MERGE INTO customers c USING (SELECT 1) s ON c.id = 1 WHEN MATCHED THEN UPDATE SET name = name; ROLLBACK",
	} {
		t.Run(sql, func(t *testing.T) {
			var told []*pgconn.Notice
			conn, err := s.tryConnect("", func(c *pgconn.Config) {
				c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told = append(told, n) }
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			got, err := query(conn, sql)
			if err == nil && len(told) == 0 {
				t.Fatal("nothing was told, not even that it is withheld")
			}
			all := fmt.Sprint(got, err)
			for _, n := range told {
				all += fmt.Sprintf("%+v", *n)
			}
			if strings.Contains(all, reversed) || strings.Contains(all, "1111") {
				t.Fatal(all)
			}
		})
	}
}
