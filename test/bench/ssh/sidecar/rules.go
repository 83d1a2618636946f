package main

import (
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/bench/ssh/wiring"
)

// rules are such as people write.
func rules(w *wiring.Wiring) policy.Policy {
	return policy.Policy{
		Namespace: "prod", Name: "ops", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "bastion", Hosts: []string{w.Host}, Port: 22, SSH: &policy.SSH{
			User: w.User, KnownHosts: w.KnownHosts, HasCredentials: true, CredentialsID: "prod/bastion-key",
			DefaultAction: policy.Deny,
			Masking:       []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}},
			Rules: []policy.Rule{
				{Name: "no-removal", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm", "shred", "dd", "mkfs*"}}},
				{Name: "no-root", Action: policy.Deny, Match: policy.Match{Programs: []string{"sudo", "su", "doas"}}},
				{Name: "reads", Action: policy.Allow, Match: policy.Match{Programs: []string{"true", "cat", "head", "tail", "ls"}}},
				{Name: "copies", Action: policy.Allow, Match: policy.Match{Programs: []string{"scp"}}},
				{Name: "files", Action: policy.Allow, Match: policy.Match{Operations: []string{"read", "list", "stat"}}},
			},
		}}},
	}
}
