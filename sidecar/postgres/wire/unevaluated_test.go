package wire

import (
	"errors"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// onceBroken cannot be evaluated the first time.
type onceBroken struct{ asked int }

func (c *onceBroken) Eval(policy.Command) (bool, error) {
	c.asked++
	if c.asked == 1 {
		return false, errors.New("not now")
	}
	return true, nil
}

func TestAConditionThatCouldNotBeEvaluatedIsAskedAgain(t *testing.T) {
	previous := policy.Conditions
	t.Cleanup(func() { policy.Conditions = previous })
	condition := &onceBroken{}
	policy.Conditions = func(policy.Protocol, string) (policy.Condition, error) { return condition, nil }
	core, _ := newCore(t, compiled(t, policy.Postgres{
		TLSMode: policy.TLSDisable, DefaultAction: policy.Deny, Rules: []policy.Rule{{Name: "r", When: "true", Action: policy.Allow}},
	}))
	for i, want := range []policy.Action{policy.Deny, policy.Allow, policy.Allow} {
		if j := core.judge([]byte("SELECT 1"), false); j.verdict.Action != want {
			t.Errorf("time %d: %+v, want %s", i+1, j.verdict, want)
		}
	}
	if condition.asked != 2 {
		t.Errorf("the condition was asked %d times; only what was evaluated is kept", condition.asked)
	}
}
