package postgres

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	_ "github.com/chaperone-dev/chaperone/sidecar/policy/cel" // what conditions are compiled with
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// TestRulesOnAllThatIsUnderstood has one rule for each thing that a rule can be about, and asks for it in every statement
// that can hold another. What is refused must not have run.
func TestRulesOnAllThatIsUnderstood(t *testing.T) {
	yes, no := true, false
	direct(t, `CREATE SCHEMA ledger; CREATE TABLE ledger.entries (id int, amount int, memo text); INSERT INTO ledger.entries VALUES (1, 10, 'a');
		CREATE PROCEDURE ledger.close_books() LANGUAGE sql AS 'UPDATE ledger.entries SET amount = 0 WHERE id = 1'`)
	t.Cleanup(func() { direct(t, "DROP SCHEMA ledger CASCADE") })
	state := func() string {
		return strings.Join(direct(t, "SELECT count(*), sum(amount), max(memo) FROM ledger.entries")[0], " ")
	}
	for name, test := range map[string]struct {
		match           policy.Match
		when            string
		refused, passes []string
	}{
		"commands": {match: policy.Match{Commands: []string{"DELETE"}},
			refused: []string{"DELETE FROM ledger.entries WHERE id = 1", "WITH d AS (DELETE FROM ledger.entries WHERE id = 1 RETURNING 1) SELECT * FROM d",
				"EXPLAIN ANALYZE DELETE FROM ledger.entries WHERE id = 1", "PREPARE d AS DELETE FROM ledger.entries WHERE id = 1",
				"COPY (DELETE FROM ledger.entries WHERE id = 1 RETURNING id) TO STDOUT"},
			passes: []string{"SELECT 'DELETE'", "EXPLAIN SELECT 1"}},
		"tables": {match: policy.Match{Tables: []string{"ledger.*"}},
			refused: []string{"SELECT memo FROM ledger.entries", "SELECT 1 WHERE EXISTS (TABLE ledger.entries)", "WITH e AS (SELECT 1 FROM ledger.entries) TABLE e",
				"EXPLAIN SELECT * FROM ledger.entries", "COPY ledger.entries TO STDOUT", "PREPARE p AS TABLE ledger.entries",
				"DECLARE c CURSOR WITH HOLD FOR TABLE ledger.entries", "SET search_path = ledger; SELECT * FROM entries", "CREATE VIEW pg_temp.v AS TABLE ledger.entries"},
			passes: []string{"SELECT name FROM customers", "SELECT 'ledger.entries'"}},
		"columns": {match: policy.Match{Columns: []string{"ledger.entries.amount"}},
			refused: []string{"SELECT amount FROM ledger.entries", "SELECT memo FROM ledger.entries WHERE amount > 0", "SELECT * FROM ledger.entries", "SELECT e FROM ledger.entries e",
				"UPDATE ledger.entries SET amount = 7", "INSERT INTO ledger.entries (id, amount) VALUES (2, 5)", "EXPLAIN ANALYZE UPDATE ledger.entries SET amount = 9"},
			passes: []string{"SELECT memo FROM ledger.entries WHERE id = 1"}},
		"functions": {match: policy.Match{Functions: []string{"pg_sleep", "ledger.close_*"}},
			refused: []string{"SELECT pg_sleep(0)", "SELECT 1 FROM customers WHERE pg_catalog.pg_sleep(0) IS NULL", "CALL ledger.close_books()", "EXPLAIN SELECT pg_sleep(0)", "PREPARE s AS SELECT pg_sleep(0)"},
			passes:  []string{"SELECT now()"}},
		"filtered or not": {match: policy.Match{Unfiltered: &yes},
			refused: []string{"UPDATE ledger.entries SET memo = 'all'", "DELETE FROM ledger.entries", "WITH u AS (UPDATE ledger.entries SET memo = 'all' RETURNING 1) SELECT * FROM u"},
			passes:  []string{"UPDATE ledger.entries SET memo = memo WHERE id = 1", "DELETE FROM ledger.entries WHERE id = 99"}},
		"several at once": {match: policy.Match{Commands: []string{"UPDATE"}, Tables: []string{"ledger.entries"}, Unfiltered: &no},
			refused: []string{"UPDATE ledger.entries SET memo = 'x' WHERE id = 1"},
			passes:  []string{"SELECT * FROM ledger.entries", "UPDATE scratch SET body = body WHERE id = 1"}},
		"conditions on tables and columns": {when: `command.name == "SELECT" && command.tables.exists(t, t.startsWith("ledger.")) && "ledger.entries.memo" in command.columns`,
			refused: []string{"SELECT memo FROM ledger.entries", "EXPLAIN SELECT memo FROM ledger.entries", "SELECT (SELECT memo FROM ledger.entries LIMIT 1)"},
			passes:  []string{"SELECT id FROM ledger.entries"}},
		"conditions on what is written": {when: `command.written.exists(t, t == "ledger.entries") && !command.readOnly`,
			refused: []string{"UPDATE ledger.entries SET memo = 'w' WHERE id = 1", "INSERT INTO ledger.entries SELECT 3", "WITH w AS (DELETE FROM ledger.entries RETURNING 1) SELECT 1", "TRUNCATE ledger.entries"},
			passes:  []string{"SELECT * FROM ledger.entries", "INSERT INTO scratch SELECT 90 FROM ledger.entries WHERE false"}},
		"conditions on functions and what is around": {when: `command.functions.exists(f, f.endsWith("pg_sleep")) || "EXPLAIN" in command.via`,
			refused: []string{"SELECT pg_sleep(0)", "EXPLAIN SELECT 1"},
			passes:  []string{"SELECT 1"}},
		"conditions on what cannot be read": {when: `command.opaque == true`,
			refused: []string{"DO $$ BEGIN UPDATE ledger.entries SET amount = 1; END $$", "SELECT 1; DO $$ BEGIN NULL; END $$"},
			passes:  []string{"SELECT 1"}},
		"conditions on text": {when: `command.text.contains("secret word")`,
			refused: []string{"SELECT 'the secret word'", "SELECT 1 /* secret word */"},
			passes:  []string{"SELECT 'the word'"}},
	} {
		t.Run(name, func(t *testing.T) {
			pg := allowAll()
			pg.Rules = []policy.Rule{{Name: "the-rule", Match: test.match, When: test.when, Action: policy.Deny, Message: "by the rule"}}
			s := newSidecar(t, pg)
			before := state()
			for _, text := range test.refused {
				_, err := query(s.connect(t, ""), text)
				if err == nil || !strings.Contains(err.Error(), "by the rule") {
					t.Errorf("%s: got %v", text, err)
				}
				if !strings.Contains(text, ";") {
					if err := extended(s.connect(t, ""), text); err == nil || !strings.Contains(err.Error(), "by the rule") {
						t.Errorf("%s, by the extended protocol: got %v", text, err)
					}
				}
			}
			for _, text := range test.passes {
				if _, err := query(s.connect(t, ""), text); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
			if after := state(); after != before {
				t.Errorf("the table held %s and holds %s", before, after)
			}
		})
	}
}

func TestAConditionOnTheFingerprintHoldsForOtherValues(t *testing.T) {
	parsed, err := sql.Parse("SELECT name FROM customers WHERE id = 1", sql.DefaultState())
	if err != nil {
		t.Fatal(err)
	}
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "the-shape", When: `command.fingerprint == "` + parsed.Commands[0].SQL.Fingerprint + `"`, Action: policy.Deny, Message: "by its shape"}}
	conn := newSidecar(t, pg).connect(t, "")
	for text, refused := range map[string]bool{
		"SELECT name FROM customers WHERE id = 2":                  true,
		"select  name from customers where id=-77 -- and a remark": true,
		"SELECT name FROM customers WHERE id = 1 OR true":          false,
		"SELECT email FROM customers WHERE id = 1":                 false,
	} {
		_, err := query(conn, text)
		if refused != (err != nil && strings.Contains(err.Error(), "by its shape")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
