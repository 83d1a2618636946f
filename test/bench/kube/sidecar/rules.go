package main

import "github.com/chaperone-dev/chaperone/sidecar/policy"

// rules are such as people write.
func rules(port uint16) policy.Policy {
	return policy.Policy{
		Namespace: "prod", Name: "ops", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "cluster", Hosts: []string{"localhost"}, Port: port, Kubernetes: &policy.Kubernetes{
			DefaultAction: policy.Deny,
			Masking:       []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}},
			Rules: []policy.Rule{
				{Name: "no-deletes", Action: policy.Deny, Match: policy.Match{Verbs: []string{"delete", "deletecollection"}}},
				{Name: "no-removal", Action: policy.Deny, Match: policy.Match{Resources: []string{"pods/exec"}, Programs: []string{"rm", "shred", "dd"}}},
				{Name: "looking", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec"}, Programs: []string{"true", "cat", "head", "tar", "wc"}}},
				{Name: "reads", Action: policy.Allow, Match: policy.Match{Verbs: []string{"get", "list", "watch"}, Resources: []string{"pods", "configmaps"}}},
				{Name: "notes", Action: policy.Allow, Match: policy.Match{Verbs: []string{"patch", "update"}, Resources: []string{"configmaps"}}},
			},
		}}},
	}
}
