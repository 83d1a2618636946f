package ssh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// TestApprovals tries to run something else than people approved, or to run it more often.
func TestApprovals(t *testing.T) {
	needServer(t)
	rules := func(action policy.Action, wait int64) policy.SSH {
		r := policy.Rule{Name: "touch", Action: action, Match: policy.Match{Programs: []string{"touch"}}}
		if action == policy.RequireApproval {
			r.Approval = &policy.Approval{Required: 1, WaitSeconds: wait}
		}
		return sshsidecar.SSH(server, r, policy.Rule{Name: "echo", Action: policy.Allow, Match: policy.Match{Programs: []string{"echo"}}})
	}
	exists := func() bool {
		_, err := os.Stat(filepath.Join(server.HomeOf(sshserver.User), "mark"))
		return err == nil
	}
	approve := func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client, command string) {
		t.Helper()
		if got := execute(t, c, command, ""); got.status != 126 {
			t.Fatalf("it did not wait: %s", got)
		}
		s.Desk.Next(t, 1)
		s.Desk.Decide(1, "Approved", "")
	}
	for name, attack := range map[string]func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client){
		"nothing was approved": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) { execute(t, c, "touch mark", "") },
		"another word was approved": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch other")
			execute(t, c, "touch mark", "")
		},
		"one word more was approved": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch -h other mark")
			execute(t, c, "touch other mark", "")
		},
		"the same letters in other words were approved": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch 'other mark'")
			execute(t, c, "touch other mark", "")
		},
		"it was approved without a variable": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch mark")
			execute(t, c, "touch mark", "", func(s *ssh.Session) { _ = s.Setenv("LC_ALL", "C") })
		},
		"it was approved without a terminal": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch mark")
			execute(t, c, "touch mark", "", func(s *ssh.Session) { _ = s.RequestPty("xterm", 1, 1, nil) })
		},
		"it was approved alone": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch other")
			execute(t, c, "touch other; touch mark", "")
		},
		"it was approved in a pipe": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "echo a | touch mark")
			execute(t, c, "touch mark", "")
		},
		"it was approved, and then the policy changed": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch mark")
			s.Rules(rules(policy.Deny, 0))
			execute(t, c, "touch mark", "")
		},
		"it was approved, and then the policy went": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch mark")
			s.Withdraw()
			execute(t, c, "touch mark", "")
		},
		"the policy changed while people thought": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			s.Rules(rules(policy.RequireApproval, 60))
			o := open(t, c)
			o.tell("exec", "touch mark")
			s.Desk.Next(t, 1)
			s.Rules(rules(policy.Deny, 0))
			s.Desk.Decide(1, "Approved", "")
			o.end()
		},
		"it was denied": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			s.Rules(rules(policy.RequireApproval, 60))
			o := open(t, c)
			o.tell("exec", "touch mark")
			s.Desk.Next(t, 1)
			s.Desk.Decide(1, "Denied", "no")
			o.end()
			if !strings.Contains(o.errs.String(), "no") {
				t.Errorf("the reason is not told: %q", o.errs.String())
			}
		},
		"it was approved when the agent had given up": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			s.Rules(rules(policy.RequireApproval, 60))
			o := open(t, c)
			o.tell("exec", "touch mark")
			s.Desk.Next(t, 1)
			o.tell("signal", "TERM")
			o.end()
			s.Desk.Decide(1, "Approved", "")
		},
		"it cannot be recorded": func(t *testing.T, s *sshsidecar.Sidecar, c *ssh.Client) {
			approve(t, s, c, "touch mark")
			s.Log.Fails(nil, os.ErrDeadlineExceeded)
			execute(t, c, "touch mark", "")
			s.Log.Fails(nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, server, rules(policy.RequireApproval, 0))
			c := s.Client(t)
			furnish(t)
			attack(t, s, c)
			if exists() {
				t.Error("it ran")
			}
			s.Rules(rules(policy.Deny, 0))
			if got := execute(t, c, "echo alive", ""); got.stdout != "alive\n" {
				t.Errorf("the connection is of no use any more: %s", got)
			}
			if exists() {
				t.Error("it ran")
			}
		})
	}
	t.Run("it runs once when it was approved once", func(t *testing.T) {
		s := sshsidecar.Start(t, server, rules(policy.RequireApproval, 0))
		c := s.Client(t)
		furnish(t)
		approve(t, s, c, "touch mark")
		if got := execute(t, c, "touch mark", ""); got.status != 0 || !exists() {
			t.Fatalf("what is approved does not run: %s", got)
		}
		furnish(t)
		if got := execute(t, c, "touch mark", ""); got.status != 126 || exists() {
			t.Errorf("it runs twice: %s", got)
		}
	})
}
