package proxy

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestASessionSeesEveryChangeOfItsRules(t *testing.T) {
	target := postgres("billing", 5432, "db.example")
	target.Postgres.Masking = []policy.Masking{{Columns: []string{"public.customers.card_number"}}}
	select1 := policy.Command{Protocol: policy.ProtocolPostgres, Text: "SELECT 1", SQL: &policy.SQL{Command: "SELECT"}}
	allowing := target
	postgres := *target.Postgres
	postgres.DefaultAction = policy.Allow
	allowing.Postgres = &postgres

	rules, err := compile(t, plan("p", policy.Deny, allowing)), error(nil)
	p := &Proxy{Rules: func() (*policy.Compiled, error) { return rules, err }}
	first := rules.Destinations()[0]
	decide, failure := p.decider(place{first, "db.example"})
	if failure != nil {
		t.Fatal(failure)
	}
	if d := decide(); d != first {
		t.Fatalf("at the beginning: %v", d)
	}
	for name, c := range map[string]struct {
		rules *policy.Compiled
		err   error
		want  policy.Action
		rule  string
	}{
		"the policy was changed":                        {compile(t, plan("p", policy.Deny, target)), nil, policy.Deny, policy.RuleDefault},
		"the target was taken out":                      {compile(t, plan("p", policy.Allow)), nil, policy.Deny, "withdrawn"},
		"the target became another protocol's":          {compile(t, plan("p", policy.Deny, policy.Target{Name: "x", Hosts: []string{"db.example"}, Port: 5432, SSH: &policy.SSH{DefaultAction: policy.Allow}})), nil, policy.Deny, "withdrawn"},
		"the last policy was deleted":                   {compile(t), nil, policy.Deny, "withdrawn"},
		"the policies are too old":                      {nil, errors.New("too old"), policy.Deny, "withdrawn"},
		"another policy for the same target has joined": {compile(t, plan("p", policy.Deny, allowing), plan("q", policy.Deny, target)), nil, policy.Deny, policy.RuleDefault},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err = c.rules, c.err
			for range 2 {
				if v := decide().Decide(select1); v.Action != c.want || v.Rule != c.rule || v.Policy == "" {
					t.Errorf("got %+v", v)
				}
			}
			if c.rule == "withdrawn" && len(decide().Postgres().Masking) != 1 {
				t.Error("what is under way is not masked any more")
			}
			rules, err = compile(t, plan("p", policy.Deny, allowing)), nil
			if v := decide().Decide(select1); v.Action != policy.Allow {
				t.Errorf("back again: %+v", v)
			}
		})
	}
}

func TestEveryProtocolCanBeWithdrawn(t *testing.T) {
	for name, target := range map[string]policy.Target{
		"postgres":   postgres("t", 5432, "a.example", "b.example"),
		"ssh":        {Name: "t", Hosts: []string{"a.example"}, SSH: &policy.SSH{DefaultAction: policy.Allow}},
		"kubernetes": {Name: "t", Kubernetes: &policy.Kubernetes{DefaultAction: policy.Allow}},
	} {
		t.Run(name, func(t *testing.T) {
			before := compile(t, plan("p", policy.Allow, target), audit(plan("q", policy.Allow, target))).Destinations()[0]
			after, err := withdrawn(before)
			if err != nil {
				t.Fatal(err)
			}
			if after.Name() != before.Name() || after.Protocol() != before.Protocol() || len(after.Targets()) != 2 {
				t.Errorf("got %+v", after)
			}
			if v := after.Decide(policy.Command{Protocol: before.Protocol(), Unrecognised: "anything"}); v.Action != policy.Deny {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestRefusalsThatRepeatAreCounted(t *testing.T) {
	var j journal
	now := time.Unix(1e9, 0)
	for i, c := range []struct {
		after time.Duration
		what  string
		more  int
		tell  bool
	}{
		{0, "a", 0, true}, {time.Second, "a", 0, false}, {time.Second, "b", 0, true}, {time.Second, "a", 0, false},
		{repeatPeriod, "a", 2, true}, {time.Second, "a", 0, false}, {repeatPeriod, "a", 1, true}, {repeatPeriod, "a", 0, true},
	} {
		now = now.Add(c.after)
		if more, tell := j.note(c.what, now); more != c.more || tell != c.tell {
			t.Errorf("%d: %d, %t", i, more, tell)
		}
	}
	for i := range 10 * maxRepeats {
		j.note(fmt.Sprint(i), now)
	}
	if len(j.seen) > maxRepeats {
		t.Errorf("%d are kept", len(j.seen))
	}
}
