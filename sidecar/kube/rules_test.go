package kube

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestWhatCannotBeMaskedIsDenied: a policy is not admitted with such a row, but an operator of a later version may know
// rows that this sidecar does not.
func TestWhatCannotBeMaskedIsDenied(t *testing.T) {
	get := []policy.Command{{Protocol: policy.ProtocolKubernetes, Kubernetes: &policy.KubernetesRequest{Verb: "get", Resource: "pods"}}}
	for name, c := range map[string]struct {
		masking policy.Masking
		want    policy.Action
	}{
		"a detector":                            {policy.Masking{Detectors: []string{"Email"}}, policy.Allow},
		"a pattern":                             {policy.Masking{Pattern: "x+"}, policy.Allow},
		"a detector that is not known here":     {policy.Masking{Detectors: []string{"Iris"}}, policy.Deny},
		"a pattern that cannot be searched for": {policy.Masking{Pattern: "x*"}, policy.Deny},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := policy.Compile(policy.Set{Policies: []policy.Policy{{
				Namespace: "shop", Name: "agents", Enforcement: policy.Enforce, Targets: []policy.Target{{
					Name: "cluster", Hosts: []string{"localhost"}, Port: 443,
					Kubernetes: &policy.Kubernetes{DefaultAction: policy.Allow, Masking: []policy.Masking{c.masking}},
				}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			var compiled compiledRules
			d := set.Lookup("localhost", 443)
			r := compiled.of(d)
			if v, _ := r.DecideAll(get); v.Action != c.want || c.want == policy.Deny && !strings.Contains(v.Message, "cannot be found") {
				t.Errorf("got %+v", v)
			}
			if compiled.of(d) != r {
				t.Error("compiled again")
			}
		})
	}
}
