package policy

import "testing"

func TestSFTPIsStartedWhereAFileMayBeUsed(t *testing.T) {
	start := &SSHRequest{Kind: SSHSubsystem, Subsystem: SubsystemSFTP}
	netconf := &SSHRequest{Kind: SSHSubsystem, Subsystem: "netconf"}
	file := func(operation, path string) *SSHRequest {
		return &SSHRequest{Kind: SSHFile, Subsystem: SubsystemSFTP, Operation: operation, Path: path}
	}
	rule := func(action Action, m Match) Rule { return Rule{Action: action, Match: m} }
	tests := map[string]struct {
		rules    []Rule
		fallback Action
		request  *SSHRequest
		want     Action
	}{
		"without rules, it is not":                        {nil, Deny, start, Deny},
		"by a rule that allows some paths":                {[]Rule{rule(Allow, Match{Paths: []string{"/a/**"}})}, Deny, start, Allow},
		"by a rule that allows some operation":            {[]Rule{rule(Allow, Match{Operations: []string{"read"}})}, Deny, start, Allow},
		"by a rule that names it":                         {[]Rule{rule(Allow, Match{Subsystems: []string{"sftp"}})}, Deny, start, Allow},
		"by a default that allows":                        {nil, Allow, start, Allow},
		"by a default that asks, about each file":         {nil, RequireApproval, start, Allow},
		"by a rule on paths that asks, about each file":   {[]Rule{rule(RequireApproval, Match{Paths: []string{"/a/**"}})}, Deny, start, Allow},
		"people are asked by a rule that names it":        {[]Rule{rule(RequireApproval, Match{Subsystems: []string{"sftp"}})}, Deny, start, RequireApproval},
		"not by a rule on programs":                       {[]Rule{rule(Allow, Match{Programs: []string{"*"}})}, Deny, start, Deny},
		"not where a rule refuses it":                     {[]Rule{rule(Deny, Match{Subsystems: []string{"sftp"}}), rule(Allow, Match{Paths: []string{"*"}})}, Deny, start, Deny},
		"where a rule refuses what an earlier one leaves": {[]Rule{rule(Allow, Match{Paths: []string{"/a/**"}}), rule(Deny, Match{Subsystems: []string{"sftp"}})}, Deny, start, Allow},
		"where a rule refuses some paths":                 {[]Rule{rule(Deny, Match{Paths: []string{"/b/**"}}), rule(Allow, Match{Paths: []string{"/**"}})}, Deny, start, Allow},
		"another subsystem is no matter of files":         {[]Rule{rule(Allow, Match{Paths: []string{"*"}})}, Allow, netconf, Deny},
		"what a path leads to, under a default":           {nil, Deny, file(OperationRealpath, "/x"), Allow},
		"nobody is asked what a path leads to":            {[]Rule{rule(RequireApproval, Match{Paths: []string{"/a/**"}})}, Deny, file(OperationRealpath, "/a/x"), Allow},
		"but by a rule that says so":                      {[]Rule{rule(RequireApproval, Match{Operations: []string{OperationRealpath}})}, Deny, file(OperationRealpath, "/a/x"), RequireApproval},
		"a file under a rule that asks":                   {[]Rule{rule(RequireApproval, Match{Paths: []string{"/a/**"}})}, Deny, file("read", "/a/x"), RequireApproval},
		"a folder is not renamed to above what is shut": {[]Rule{rule(Deny, Match{Paths: []string{"/shut/in/**"}}), rule(Allow, Match{Paths: []string{"*"}})}, Deny,
			&SSHRequest{Kind: SSHFile, Operation: "rename", Path: "/a", Target: "/shut", Tree: true}, Deny},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for i := range tc.rules {
				tc.rules[i].Name = string(rune('a' + i))
			}
			p := Policy{
				Namespace: "prod", Name: "ops", Enforcement: Enforce, Egress: Egress{Unmatched: Deny},
				Recording: Recording{Durability: Spool, OnFailure: Block},
				Targets: []Target{{Name: "t", Hosts: []string{"h"}, Port: 22, SSH: &SSH{
					User: "u", KnownHosts: []byte("h ssh-ed25519 AAAA"), Rules: tc.rules, DefaultAction: tc.fallback,
				}}},
			}
			c, err := Compile(Set{Version: "1", Policies: []Policy{p}})
			if err != nil {
				t.Fatal(err)
			}
			if v := c.Lookup("h", 22).Decide(Command{Protocol: ProtocolSSH, SSH: tc.request}); v.Action != tc.want {
				t.Errorf("%s by rule %s, not %s", v.Action, v.Rule, tc.want)
			}
		})
	}
}
