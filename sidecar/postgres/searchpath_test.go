package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestSearchPath holds the schemas that names are looked up in to the server's own reading of the setting.
func TestSearchPath(t *testing.T) {
	direct(t, `CREATE SCHEMA hidden; CREATE TABLE hidden.salaries (amount int);
		CREATE FUNCTION go_to(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', $1, false) $$`)
	t.Cleanup(func() { direct(t, "DROP FUNCTION go_to; DROP SCHEMA hidden CASCADE") })
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "no-salaries", Match: policy.Match{Tables: []string{"hidden.*"}}, Action: policy.Deny}}
	s := newSidecar(t, pg)
	for name, steps := range map[string][]string{
		"set":                             {"SET search_path = hidden"},
		"set in capitals":                 {"SET search_path = HIDDEN"},
		"set by a function":               {"SELECT set_config('search_path', 'HIDDEN', false)"},
		"set in a transaction":            {"BEGIN", "SELECT set_config('search_path', 'public, HIDDEN', true)"},
		"set inside a function":           {"SELECT go_to('Hidden')"},
		"set inside one in a transaction": {"BEGIN", "SELECT go_to(E'\\tHIDDEN\\n')"},
		"set behind pg_temp":              {"SELECT go_to(E' PG_TEMP,\\t Hidden')"},
		"set behind pg_temp and quoted":   {`SELECT go_to('"pg_temp",hidden')`},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.connect(t, "")
			for _, step := range steps {
				rows(t, conn, step)
			}
			_, err := query(conn, "SELECT amount FROM salaries")
			wantError(t, err, "42501", "no-salaries")
		})
	}
	t.Run("a path that begins with pg_temp makes no temporary schema", func(t *testing.T) {
		conn := s.connect(t, "")
		rows(t, conn, "SET search_path = pg_temp, public")
		rows(t, conn, "SELECT id FROM customers")
		if got := rows(t, conn, "SELECT pg_my_temp_schema()"); got[0][0] != "0" {
			t.Errorf("the session has the temporary schema %s, which it did not ask for", got[0][0])
		}
	})
}
