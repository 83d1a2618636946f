package snapshot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
)

// TestStreamPatterns admits what can be searched for in streams, for both protocols that have some.
func TestStreamPatterns(t *testing.T) {
	many := make([]string, 17)
	for i := range many {
		many[i] = fmt.Sprintf("x%d", i)
	}
	for name, c := range map[string]struct {
		patterns []string
		want     string // nothing is wrong where empty
	}{
		"an expression":             {[]string{"EMP-[0-9]{6}"}, ""},
		"sixteen":                   {many[:16], ""},
		"one too many":              {many, "masking[16].pattern: at most 16 patterns are allowed for a target"},
		"no expression":             {[]string{"("}, "masking[0].pattern: error parsing regexp: missing closing )"},
		"one that matches nothing":  {[]string{"x", "[0-9]*"}, "masking[1].pattern: the pattern matches the empty text"},
		"one that is as good as 2k": {[]string{"(abcdefgh){1000}"}, "masking[0].pattern: the pattern is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			var rows []v1alpha1.StreamMasking
			for _, p := range c.patterns {
				rows = append(rows, v1alpha1.StreamMasking{Pattern: p})
			}
			p := parse(t, billing)
			p.Spec.Targets[0].Postgres = nil
			p.Spec.Targets[0].Kubernetes = &v1alpha1.KubernetesTarget{Masking: rows}
			got, err := snapshot.Policy(p, nil)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), "spec.targets[0].kubernetes."+c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if masking := got.Targets[0].Kubernetes.Masking; len(masking) != len(rows) || masking[0].Pattern != c.patterns[0] {
				t.Errorf("got %+v", masking)
			}
		})
	}
}
