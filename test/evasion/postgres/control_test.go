package postgres

import (
	"testing"

	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// control runs a case past the sidecar: one that does no harm there proves nothing.
func (w *world) control(t *testing.T, c *script, under string) {
	if _, harmless := c.options["harmless"]; harmless {
		return
	}
	var seen [2]string
	harm := false
	for i, s := range w.sides {
		a := attack(t, w.server.Address(), postgresserver.RoleTrust, s.database, startup(c))
		w.steps(a, c)
		seen[i] = a.comparable()
		harm = harm || s.secrets.find(a.received.Bytes()) != "" || s.foreign(a.received.Bytes()) != ""
		a.conn.Close()
		if now := w.snapshot(t, s.judge); now != s.state {
			harm = true
			w.build(t, i)
		}
	}
	if !harm && seen[0] == seen[1] {
		t.Errorf("past the sidecar this does no harm under %s:\n%s", under, cut(seen[0], 600))
	}
}

// finds holds that the oracle finds every protected value, in text and in binary, where nothing is masked: one that
// finds nothing would call everything safe.
func (w *world) finds(t *testing.T) {
	f := w.rules["open"]
	for _, column := range []string{"card_number", "pin", "balance", "born", "token", "photo", "profile", "tags"} {
		for _, how := range []string{"simple", "extended", "binary"} {
			var seen [2]string
			for i, side := range w.sides {
				a := attack(t, f.Address(), "whoever", side.database, nil)
				st := step{how: how, text: "SELECT " + column + " FROM customers WHERE id = 1"}
				st.run(a)
				seen[i] = a.comparable()
				// Values of the second side are short on purpose, and numeric's binary form is left to the comparison.
				if i == 0 && (column != "balance" || how != "binary") && side.secrets.find(a.received.Bytes()) == "" {
					t.Errorf("%s, %s: not found in %q", column, how, a.received.String())
				}
				a.conn.Close()
			}
			if seen[0] == seen[1] {
				t.Errorf("%s, %s: the two databases are not told apart", column, how)
			}
		}
	}
}
