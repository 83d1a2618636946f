package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestHashesCannotBeLookedUpByValuesThatTheAgentGives(t *testing.T) {
	pg := allowAll()
	pg.Masking = []policy.Masking{{Columns: []string{"public.customers.name"}, Method: policy.MaskHash}}
	s := newSidecar(t, pg)
	conn := s.connect(t, "")
	hashes := make(map[string]bool)
	for _, r := range rows(t, conn, "SELECT name FROM customers UNION ALL SELECT name FROM customers") {
		hashes[r[0]] = true
	}
	if len(hashes) != 3 {
		t.Fatalf("the names' hashes are %v", hashes)
	}
	for _, sql := range []string{
		"SELECT 'Ada' UNION ALL SELECT name FROM customers",
		"SELECT name FROM customers UNION ALL SELECT 'Ada'",
		"SELECT name FROM (SELECT 'Ada' AS name UNION ALL SELECT name FROM customers) x",
		"WITH x AS (SELECT name FROM customers UNION ALL VALUES ('Ada'), ('Carl')) SELECT name FROM x",
		"WITH RECURSIVE x(name, n) AS (SELECT name, 0 FROM customers UNION ALL SELECT 'Ada', n + 1 FROM x WHERE n < 2) SELECT name FROM x",
		"VALUES ((SELECT name FROM customers WHERE id = 1)), ('Ada')",
		"SELECT (SELECT name FROM customers WHERE id = 1) UNION ALL SELECT 'Ada'",
		"SELECT name FROM (VALUES ('Ada')) v(name) FULL JOIN customers USING (name)",
		"SELECT coalesce(name, 'Ada') FROM customers",
		"SELECT CASE WHEN id = 1 THEN 'Ada' ELSE name END FROM customers",
		"SELECT x.name FROM customers c CROSS JOIN LATERAL (SELECT c.name UNION ALL SELECT 'Ada') x",
		"SELECT unnest(ARRAY[name, 'Ada']) FROM customers",
	} {
		got, err := query(conn, sql)
		if err != nil {
			continue // refused
		}
		for _, r := range got {
			if hashes[r[0]] {
				t.Errorf("%s: gives %s, the hash of a name", sql, r[0])
			}
		}
	}
}
