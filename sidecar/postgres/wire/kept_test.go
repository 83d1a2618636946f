package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// A prepared statement is judged anew as soon as anything has changed that its verdict was made of.
func TestTheVerdictThatAPreparedStatementKeeps(t *testing.T) {
	const text = "SELECT id FROM customers WHERE id = $1"
	tests := map[string]struct {
		text   string
		kept   bool
		change func(c *Core)
	}{
		"holds while nothing changes":                    {kept: true, change: func(*Core) {}},
		"not under other rules":                          {change: func(c *Core) { other := strict(t); c.cfg.Rules = func() *Rules { return other } }},
		"not once the search_path has changed":           {change: func(c *Core) { c.setPath([]string{"other"}, "agent") }},
		"not while a transaction may bring a path back":  {change: func(c *Core) { c.touched = true }},
		"not while its session changes the catalogue":    {change: func(c *Core) { c.altering = true }},
		"not while what names mean is not known":         {change: func(c *Core) { c.stale = true }},
		"not once somebody has changed the catalogue":    {change: func(c *Core) { c.cfg.Catalogue.Begin(); c.cfg.Catalogue.End() }},
		"not once the session has a temporary table":     {change: func(c *Core) { c.temporary("t") }},
		"not where a condition could not be evaluated":   {change: unevaluable(t)},
		"not of a statement that is too long to be kept": {text: text + " AND name <> '" + strings.Repeat("x", maxCached) + "'", change: func(*Core) {}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, alikeRules(t))
			if name == "not where a condition could not be evaluated" {
				tc.change(c)
			}
			s := &statement{text: text}
			if tc.text != "" {
				s.text = tc.text
			}
			first := c.judgeStatement(s)
			tc.change(c)
			second := c.judgeStatement(s)
			if kept := first == second; kept != tc.kept {
				t.Errorf("kept: %v", kept)
			}
			if second.rules != c.cfg.Rules() || c.compiled != second.rules {
				t.Error("judged by rules that are over")
			}
		})
	}
}

// unevaluable gives a core's rules a condition that cannot be evaluated.
func unevaluable(t *testing.T) func(*Core) {
	previous := policy.Conditions
	t.Cleanup(func() { policy.Conditions = previous })
	policy.Conditions = func(policy.Protocol, string) (policy.Condition, error) { return neverEvaluated{}, nil }
	rules := compiled(t, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow,
		Rules: []policy.Rule{{Name: "r", When: "x", Action: policy.Deny}}})
	return func(c *Core) { c.cfg.Rules = func() *Rules { return rules } }
}

type neverEvaluated struct{}

func (neverEvaluated) Eval(policy.Command) (bool, error) { return false, errors.New("not now") }

// Statements keep their verdicts up to a number, whatever an agent prepares.
func TestVerdictsWithStatementsAreBounded(t *testing.T) {
	c, _ := newCore(t, alikeRules(t))
	var all []*statement
	for i := range 3 * maxStatements {
		s := &statement{text: fmt.Sprintf("SELECT id AS a%d FROM customers", i)}
		c.judgeStatement(s)
		all = append(all, s)
	}
	kept := 0
	for _, s := range all {
		if s.judged != nil {
			kept++
		}
	}
	if kept != maxStatements || all[len(all)-1].judged == nil {
		t.Errorf("%d statements have their verdicts with them, want the last %d", kept, maxStatements)
	}
}

// A name's new statement is judged by its own text.
func TestAStatementParsedAgainUnderItsNameIsJudgedByItsText(t *testing.T) {
	c, events := newCore(t, alikeRules(t))
	idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	for i, text := range []string{"SELECT id FROM customers", "UPDATE secrets SET a = 1", "SELECT id FROM notes"} {
		c.Agent(encode(&pgproto3.Parse{Name: "", Query: text}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}))
		for c.Wait() == WaitFlush {
			c.Flushed(nil)
		}
		c.ToServer(nil)
		want := "allow"
		if i == 1 {
			want = "deny"
		}
		last := (*events)[len(*events)-1]
		if last.Text != text || !strings.EqualFold(last.Verdict, want) {
			t.Errorf("recorded %q as %s, want %q as %s", last.Text, last.Verdict, text, want)
		}
		if i == 1 {
			_ = c.Server(encode(idle))
			continue
		}
		if err := c.Server(encode(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.NoData{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}, idle)); err != nil {
			t.Fatal(err)
		}
		*events = (*events)[:0]
	}
}
