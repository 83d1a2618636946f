package policy

import "testing"

func TestScriptsAreInterpretedWhereEveryPolicySaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		says []bool
		want bool
	}{
		"the only one does":     {[]bool{true}, true},
		"the only one does not": {[]bool{false}, false},
		"both do":               {[]bool{true, true}, true},
		"the first alone does":  {[]bool{true, false}, false},
		"the second alone does": {[]bool{false, true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var targets []*compiledTarget
			for _, says := range c.says {
				targets = append(targets, &compiledTarget{policy: &compiledPolicy{name: "prod/ops"}, target: &Target{SSH: &SSH{Interpret: says}}})
			}
			settings, conflict := mergeSSH(targets)
			if settings.Interpret != c.want || conflict != "" {
				t.Errorf("got %v, %q", settings.Interpret, conflict)
			}
		})
	}
}
