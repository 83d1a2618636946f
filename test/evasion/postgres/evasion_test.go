package postgres

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// policies are those that cases are tried under.
func policies() map[string]policy.Postgres {
	masked := []policy.Masking{{Columns: []string{
		"public.customers.card_number", "public.customers.pin", "public.customers.balance", "public.customers.born",
		"public.customers.token", "public.customers.photo", "public.customers.profile", "public.customers.tags",
	}, Method: policy.MaskRedact}}
	return map[string]policy.Postgres{
		// Everything is allowed, and columns are masked.
		"masking": {DefaultAction: policy.Allow, Masking: masked},
		// The same, and nothing may be learnt of those columns otherwise.
		"inference": {DefaultAction: policy.Allow, Masking: masked, Inference: policy.Deny},
		// Everything is allowed but what is refused on principle.
		"open": {DefaultAction: policy.Allow},
		// Reads of one schema, few writes.
		"rules": {DefaultAction: policy.Deny, Rules: []policy.Rule{
			{Name: "no-schema-change", Action: policy.Deny, Match: policy.Match{Commands: []string{"DROP", "TRUNCATE", "ALTER", "CREATE"}}},
			{Name: "no-people", Action: policy.Deny, Match: policy.Match{Tables: []string{"pii.*"}}},
			{Name: "no-large-objects", Action: policy.Deny, Match: policy.Match{Functions: []string{"lo_*"}}},
			{Name: "unfiltered-writes", Action: policy.Deny, Match: policy.Match{Commands: []string{"UPDATE", "DELETE"}, Unfiltered: yes()}},
			{Name: "reads", Action: policy.Allow, Match: policy.Match{Commands: []string{"SELECT"}, Tables: []string{"public.*", "pg_catalog.*"}}},
			{Name: "writes", Action: policy.Allow, Match: policy.Match{Commands: []string{"INSERT", "UPDATE", "DELETE"}, Tables: []string{"public.orders", "public.scratch"}}},
			{Name: "session", Action: policy.Allow, Match: policy.Match{Commands: []string{"SET", "RESET"}}},
		}},
	}
}

func yes() *bool { b := true; return &b }

// keeps says of a policy that the database must be as it was; under the others protected values may not get about.
var keeps = map[string]bool{"rules": true, "open": true, "inference": true}

// TestEvasion runs every case.
func TestEvasion(t *testing.T) {
	all, err := families()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, f := range all {
		count += len(f.cases)
	}
	if count < 200 {
		t.Errorf("there are %d cases; whoever takes one away has to say why", count)
	}
	postgresserver.Each(t, func(t *testing.T, s *postgresserver.Server) {
		w := newWorld(t, s)
		for name, pg := range policies() {
			w.rules[name] = w.sidecarUnder(t, pg)
		}
		t.Run("the oracle finds what is not masked", w.finds)
		t.Run("the protocol", w.protocol)
		for _, f := range all {
			t.Run(f.name, func(t *testing.T) {
				for _, c := range f.cases {
					t.Run(c.name, func(t *testing.T) { w.try(t, c) })
				}
			})
		}
	}, serverSettings...)
}

// serverSettings: what an adversary would like to find.
var serverSettings = []string{"shared_preload_libraries=pg_stat_statements", "max_prepared_transactions=5", "wal_level=logical", "track_functions=all"}

// try runs a case through the sidecar against both databases.
func (w *world) try(t *testing.T, c *script) {
	if only, ok := c.options["only"]; ok && strings.TrimSpace(only) != strconv.Itoa(w.server.Major) {
		t.Skipf("is for PostgreSQL %s", only)
	}
	under := strings.TrimSpace(c.options["policy"])
	f := w.rules[under]
	if f == nil {
		t.Fatalf("no policy is called %q", under)
	}
	if os.Getenv("EVASION_CONTROL") != "" {
		w.control(t, c, under)
	}
	f.log.take()
	var seen [2]string
	for i, s := range w.sides {
		a := attack(t, f.Address(), "whoever", s.database, startup(c))
		errs := w.steps(a, c)
		seen[i] = a.comparable()
		if what := s.secrets.find(a.said()); what != "" {
			t.Errorf("received: %s", what)
		}
		if what := s.foreign(a.received.Bytes()); what != "" {
			t.Errorf("received: %s", what)
		}
		recorded, texts := f.log.take()
		if recorded == 0 && len(c.steps) > 0 && !syntaxAlone(errs) {
			t.Error("nothing was recorded")
		}
		if what := s.secrets.find(texts); what != "" {
			t.Errorf("recorded: %s", what)
		}
		explained(t, c, errs)
		a.alive(c)
		a.conn.Close()
		w.inspect(t, i, c, under)
	}
	if _, varies := c.options["varies"]; !varies && seen[0] != seen[1] {
		t.Errorf("what was received tells the two databases apart:\n%s", difference(seen[0], seen[1]))
	}
}

// syntaxAlone tells whether all that was sent was answered as a syntax error, which nothing is recorded of.
func syntaxAlone(errs []*pgproto3.ErrorResponse) bool {
	return len(errs) > 0 && !slices.ContainsFunc(errs, func(e *pgproto3.ErrorResponse) bool { return e.Code != "42601" })
}

func startup(c *script) map[string]string {
	out := make(map[string]string)
	if name, value, ok := strings.Cut(strings.TrimSpace(c.options["startup"]), "="); ok {
		out[name] = value
	}
	return out
}

// steps runs the steps one after the other, as long as the connection lives.
func (w *world) steps(a *adversary, c *script) (errs []*pgproto3.ErrorResponse) {
	for i := range c.steps {
		if a.lost != nil {
			break
		}
		errs = append(errs, c.steps[i].run(a)...)
	}
	return errs
}

// alive holds that the session has survived.
func (a *adversary) alive(c *script) {
	if _, ends := c.options["ends"]; ends {
		return
	}
	if a.lost != nil {
		a.t.Errorf("the session is gone: %v", a.lost)
		return
	}
	a.send(&pgproto3.Query{String: "ROLLBACK"}, &pgproto3.Query{String: "SELECT 'still', 'here'"})
	before := a.received.Len()
	a.until(2)
	if a.lost != nil || !strings.Contains(string(a.received.Bytes()[before:]), "here") {
		a.t.Errorf("the session is gone: %v", a.lost)
	}
}

// explained holds that what was refused says who refuses it, why and what to do; option refused names the rule.
func explained(t *testing.T, c *script, errs []*pgproto3.ErrorResponse) {
	want, must := c.options["refused"]
	want = strings.TrimSpace(want)
	var rules []string
	for _, e := range errs {
		m := ruling.FindStringSubmatch(e.Detail)
		if m == nil {
			continue
		}
		rules = append(rules, m[1])
		if e.Code != "42501" || e.Severity != "ERROR" || e.Message == "" || e.Hint == "" {
			t.Errorf("a refusal does not explain itself: %+v", e)
		}
	}
	if must && !slices.Contains(rules, want) {
		t.Errorf("refused by the rules %q, want %q", rules, want)
	}
}

// ruling is the detail of a refusal.
var ruling = regexp.MustCompile(`^policy prod/billing \(generation \d+\), rule "([^"]+)"$`)

// belonging is where protected values belong.
var belonging = regexp.MustCompile(`<(card_number|pin|balance|born|token|photo|profile|tags|copied)>[^<]*</(card_number|pin|balance|born|token|photo|profile|tags|copied)>`)

// inspect holds that the database is as it was, or at least holds no protected value where none belongs.
func (w *world) inspect(t *testing.T, i int, c *script, under string) {
	s := w.sides[i]
	now := w.snapshot(t, s.judge)
	if now == s.state {
		return
	}
	diff := changes(s.state, now)
	_, may := c.options["changes"]
	if keeps[under] && !may {
		t.Errorf("the database has changed:\n%s", cut(strings.Join(diff, "\n"), 1000))
	}
	for _, line := range diff {
		if strings.HasPrefix(line, "now: ") {
			if what := s.secrets.find([]byte(belonging.ReplaceAllString(line, ""))); what != "" {
				t.Errorf("the database now holds %s", what)
			}
		}
	}
	w.build(t, i)
	w.forget(t, i)
}

// forget has the sidecars read the catalogue of a database anew that was built past them: what they know of it would
// hold for a minute yet.
func (w *world) forget(t *testing.T, i int) {
	for _, under := range []string{"masking", "inference"} {
		a := attack(t, w.rules[under].Address(), "whoever", w.sides[i].database, nil)
		a.send(&pgproto3.Query{String: "CREATE SCHEMA forgotten; DROP SCHEMA forgotten"})
		if errs := a.until(1); len(errs) > 0 {
			t.Errorf("%+v", errs[0])
		}
		a.conn.Close()
	}
	w.rules["masking"].log.take()
	w.rules["inference"].log.take()
}

// foreign finds secrets that are no column's: the server's own.
func (s *side) foreign(b []byte) string {
	for _, secret := range []string{"WvXkQzForeignPassword", "SCRAM-SHA-256$", "md5a1", "PG_VERSION", "root:x:0:0"} {
		if strings.Contains(string(b), secret) {
			return "a secret of the server: " + secret
		}
	}
	return ""
}

func difference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	clip := func(s string) string { return strconv.Quote(s[max(0, min(i, len(s))-80):min(len(s), i+120)]) }
	return clip(a) + "\n" + clip(b)
}
