package ssh_test

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestARefusedSubsystemEndsItsClient(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*"), allowShell))
	t.Run("OpenSSH's sftp, which shows the refusal", func(t *testing.T) {
		if got := batch(t, s, "ls"); got.status == 0 || !strings.Contains(got.stderr, "denied: subsystem sftp is not allowed") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("OpenSSH's scp, which shows it too", func(t *testing.T) {
		got := run(t, s.Command("scp", Host+":x", t.TempDir()+"/x"), "")
		if got.status == 0 || !strings.Contains(got.stderr, "denied: subsystem sftp is not allowed") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("OpenSSH's ssh -s, with the status of a refusal", func(t *testing.T) {
		if got := run(t, s.Command("ssh", "-s", Host, "netconf"), ""); got.status != 126 || !strings.Contains(got.stderr, "denied: subsystem netconf is not allowed") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a libssh2 client (curl)", func(t *testing.T) {
		// It would wait for ever.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "curl", "-sSk", "-u", sshserver.User+":any", fmt.Sprintf("sftp://127.0.0.1:%d/etc/hostname", s.Port())).CombinedOutput()
		if ctx.Err() != nil || err == nil {
			t.Errorf("%v, %s", err, out)
		}
		if strings.Contains(string(out), "not supported or disabled") {
			t.Skip("this curl does not know sftp")
		}
		if !strings.Contains(string(out), "Unable to request SFTP subsystem") {
			t.Errorf("it says %s", out)
		}
	})
}

func TestASubsystemIsAnsweredOnceItIsDecided(t *testing.T) {
	ask := approvals(900)
	ask.Match = policy.Match{Subsystems: []string{"sftp"}}
	for decision, want := range map[string]bool{"Approved": true, "Denied": false} {
		t.Run(decision, func(t *testing.T) {
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, ask))
			session, requests, err := s.Client(t).OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(requests)
			defer session.Close()
			started := make(chan bool, 1)
			go func() {
				ok, err := session.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
				started <- ok && err == nil
			}()
			l := &lines{r: session.Stderr()}
			l.until(t, "waiting for approval")
			s.Desk.Next(t, 1)
			s.Desk.Decide(1, decision, "")
			if got := <-started; got != want {
				t.Errorf("the subsystem is said to run: %t", got)
			}
			if !want {
				if text, _ := io.ReadAll(session.Stderr()); !strings.Contains(l.b.String()+string(text), "denied") {
					t.Errorf("it says %q", text)
				}
			}
		})
	}
}
