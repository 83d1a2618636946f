package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestRefusals asks for what is refused before any rule, of a policy that allows everything.
func TestRefusals(t *testing.T) {
	pg := allowAll()
	pg.Refusals = policy.Refusals{Functions: []string{"pg_sleep"}, Tables: []string{"public.orders"}, Exempt: []policy.RefusalGroup{policy.RefuseSessions}}
	changed, plain := newSidecar(t, pg), newSidecar(t, allowAll())
	tests := map[string]struct {
		s     *sidecar
		sql   string
		words []string // of the refusal; none: it runs
	}{
		"a group of the list":                    {plain, "SELECT pg_cancel_backend(0)", []string{"pg_cancel_backend may not be used", "group Sessions", `rule "builtin"`, "No rule allows this"}},
		"a group that the policy exempts":        {changed, "SELECT pg_cancel_backend(0)", nil},
		"a group that no policy exempts":         {changed, "SELECT pg_read_file('PG_VERSION')", []string{"pg_read_file may not be used", `rule "builtin"`}},
		"both in one statement":                  {changed, "SELECT pg_cancel_backend(0), pg_read_file('PG_VERSION')", []string{"pg_read_file"}},
		"a function that the policy adds":        {changed, "SELECT pg_sleep(0)", []string{"pg_sleep may not be used", `rule "refusals"`, "postgres.refusals"}},
		"which is allowed without that":          {plain, "SELECT pg_sleep(0)", nil},
		"one that calls it later":                {changed, "CREATE OPERATOR ## (rightarg = float8, function = pg_catalog.pg_sleep)", []string{"pg_sleep may not be used"}},
		"a table that the policy adds":           {changed, "SELECT count(*) FROM orders", []string{"public.orders may not be used", `rule "refusals"`}},
		"a table that it adds, behind a WITH":    {changed, "WITH o AS (DELETE FROM public.orders RETURNING 1) SELECT * FROM o", []string{"public.orders may not be used"}},
		"a table that it adds, written by COPY":  {changed, "COPY orders FROM STDIN", []string{"public.orders may not be used"}},
		"a table that it does not add":           {changed, "SELECT count(*) FROM customers", nil},
		"a table that it adds, for other agents": {plain, "SELECT count(*) FROM orders", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			conn := tc.s.connect(t, "")
			_, err := query(conn, tc.sql)
			if tc.words == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, "42501", tc.words...)
			rows(t, conn, "SELECT 1")
		})
	}
}
