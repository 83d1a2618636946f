package proxy

import (
	"fmt"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// withdrawn is a destination like the one before that denies everything, for a session whose target is gone from
// the policies or whose policies have grown too old: the agent is told, and nothing of it runs.
func withdrawn(before *policy.Destination) (*policy.Destination, error) {
	deny := []policy.Rule{{
		Name: "withdrawn", Action: policy.Deny,
		Message: "the policy that this session began under is no longer in force for this pod",
	}}
	set := policy.Set{}
	for _, was := range before.Targets() {
		target := policy.Target{Name: was.Target.Name, Hosts: before.Hosts()[:1], Port: before.Port()}
		switch {
		case was.Target.Postgres != nil:
			// What is under way stays masked as it began.
			postgres := *was.Target.Postgres
			postgres.Rules, postgres.DefaultAction = deny, policy.Deny
			target.Postgres = &postgres
		case was.Target.SSH != nil:
			ssh := *was.Target.SSH
			ssh.Rules, ssh.DefaultAction = deny, policy.Deny
			target.SSH = &ssh
		case was.Target.Kubernetes != nil:
			kubernetes := *was.Target.Kubernetes
			kubernetes.Rules, kubernetes.DefaultAction = deny, policy.Deny
			target.Kubernetes = &kubernetes
		}
		namespace, name, _ := strings.Cut(was.Policy, "/")
		set.Policies = append(set.Policies, policy.Policy{
			Namespace: namespace, Name: name, Enforcement: policy.Enforce,
			Egress:    policy.Egress{Unmatched: policy.Deny},
			Recording: before.Recording(),
			Targets:   []policy.Target{target},
		})
	}
	rules, err := policy.Compile(set)
	if err != nil {
		return nil, fmt.Errorf("withdrawing target %s: %w", before.Name(), err)
	}
	return rules.Lookup(before.Hosts()[0], before.Port()), nil
}
