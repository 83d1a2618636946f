package snapshot

import (
	"fmt"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// RuleBroken is the rule by which a target that cannot be put in force as written refuses everything.
const RuleBroken = "policy-not-ready"

// Broken is what stands in for a policy that Policy refused with the error. Leaving the policy out instead would
// let another policy, or egress, decide about its destinations.
//
// Where only references are wrong, the targets that have them refuse every command with the reason and the rest
// stands as written. Anything else admission would have refused, so nothing of it is trusted: every target refuses,
// and what no target is for is denied.
func Broken(ap *v1alpha1.AgentPolicy, reason error) policy.Policy {
	all := List(reason)
	if all.References() {
		if out, err := Policy(ap, nil); err == nil {
			for i := range out.Targets {
				if mistakes := all.of(out.Targets[i].Name); mistakes != nil {
					out.Targets[i] = refusing(&ap.Spec.Targets[i], mistakes)
				}
			}
			return out
		}
	}
	out := policy.Policy{
		Namespace:   ap.Namespace,
		Name:        ap.Name,
		UID:         string(ap.UID),
		Generation:  ap.Generation,
		Enforcement: policy.Enforce,
		Egress:      policy.Egress{Unmatched: policy.Deny},
		Recording:   policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
	}
	for i := range ap.Spec.Targets {
		out.Targets = append(out.Targets, refusing(&ap.Spec.Targets[i], reason))
	}
	if _, err := policy.Compile(policy.Set{Policies: []policy.Policy{out}}); err != nil {
		// Its targets cannot even be told apart: egress Deny is what remains of it.
		out.Targets = nil
	}
	return out
}

// of returns the mistakes in one target, nil where it has none.
func (e Errors) of(target string) error {
	var out Errors
	for _, m := range e {
		if m.Target == target {
			out = append(out, m)
		}
	}
	if out == nil {
		return nil
	}
	return out
}

func refusing(t *v1alpha1.Target, reason error) policy.Target {
	out := policy.Target{Name: t.Name, Hosts: hosts(t.Hosts)}
	if t.Port != nil && *t.Port > 0 && *t.Port <= 65535 {
		out.Port = uint16(*t.Port)
	}
	rules := []policy.Rule{{
		Name:    RuleBroken,
		Action:  policy.Deny,
		Message: fmt.Sprintf("target %s cannot be used until its policy is mended: %v", t.Name, reason),
	}}
	switch {
	case t.Postgres != nil:
		// With a credential to lease the session ends at the lease, which the broker refuses with the same reason.
		out.Postgres = &policy.Postgres{
			TLSMode:        policy.TLSVerifyFull,
			HasCredentials: t.Postgres.Credentials != nil,
			Rules:          rules,
			DefaultAction:  policy.Deny,
			Unrecognised:   policy.Deny,
		}
	case t.SSH != nil:
		out.SSH = &policy.SSH{Rules: rules, DefaultAction: policy.Deny}
	case t.Kubernetes != nil:
		out.Kubernetes = &policy.Kubernetes{Rules: rules, DefaultAction: policy.Deny}
	}
	return out
}
