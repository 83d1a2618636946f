package ssh_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func approvals(wait int64, programs ...string) policy.Rule {
	return policy.Rule{Name: "ask", Match: policy.Match{Programs: programs}, Action: policy.RequireApproval,
		Approval: &policy.Approval{Required: 1, TimeoutSeconds: 900, WaitSeconds: wait, Scope: "Pod"}}
}

// started runs a command and returns what it says on standard error meanwhile.
type started struct {
	session *ssh.Session
	stderr  *lines
	done    chan error
}

type lines struct {
	r io.Reader
	b strings.Builder
}

// until reads until the text has been said.
func (l *lines) until(t *testing.T, text string) {
	t.Helper()
	p := make([]byte, 4096)
	for !strings.Contains(l.b.String(), text) {
		n, err := l.r.Read(p)
		l.b.Write(p[:n])
		if err != nil {
			t.Fatalf("%q was not said, but %q (%v)", text, l.b.String(), err)
		}
	}
}

func start(t *testing.T, c *ssh.Client, command string) *started {
	t.Helper()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{session: session, stderr: &lines{r: r}, done: make(chan error, 1)}
	if err := session.Start(command); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- session.Wait() }()
	return s
}

func TestACommandWaitsForApproval(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, approvals(900, "touch"), allow("echo")))
	c := s.Client(t)
	file := func(name string) string { return filepath.Join(server.HomeOf(sshserver.User), name) }
	exists := func(name string) bool { _, err := os.Stat(file(name)); return err == nil }
	t.Cleanup(func() { _ = os.Remove(file("approved")) })

	waits := start(t, c, "touch "+file("approved"))
	ask := s.Desk.Next(t, 1)
	waits.stderr.until(t, "kubectl patch apr apr-1 -n prod")
	if exists("approved") {
		t.Fatal("it ran before it was approved")
	}
	if ask.Text != "touch "+file("approved") || ask.Target != sshsidecar.Target || ask.Protocol != policy.ProtocolSSH || len(ask.Digest) != 64 {
		t.Errorf("asked %+v", ask)
	}
	// Others of the connection go on meanwhile.
	other, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := other.Output("echo on"); err != nil || string(out) != "on\n" {
		t.Errorf("%q, %v", out, err)
	}
	s.Desk.Decide(1, "Approved", "")
	if err := <-waits.done; err != nil || !exists("approved") {
		t.Fatalf("it did not run: %v", err)
	}
	if e := s.Log.Find(record.KindApproval, func(e record.Event) bool { return e.Decision == "Approved" }); len(e) != 1 || e[0].Deciders[0] != "alice" {
		t.Errorf("recorded %+v", e)
	}

	denied := start(t, c, "touch "+file("refused"))
	s.Desk.Next(t, 2)
	s.Desk.Decide(2, "Denied", "not today")
	denied.stderr.until(t, "not today")
	if err := <-denied.done; !isStatus(err, 126) || exists("refused") {
		t.Errorf("got %v", err)
	}

	given := start(t, c, "touch "+file("given up"))
	s.Desk.Next(t, 3)
	given.stderr.until(t, "waiting for approval")
	if err := given.session.Signal(ssh.SIGINT); err != nil {
		t.Fatal(err)
	}
	given.stderr.until(t, "cancelled while it waited")
	if err := <-given.done; !isStatus(err, 126) || exists("given up") {
		t.Errorf("got %v", err)
	}

	changed := start(t, c, "touch "+file("changed"))
	s.Desk.Next(t, 4)
	changed.stderr.until(t, "waiting for approval")
	s.Rules(sshsidecar.SSH(server, policy.Rule{Name: "closed", Action: policy.Deny}))
	s.Desk.Decide(4, "Approved", "")
	changed.stderr.until(t, `rule "closed"`)
	if err := <-changed.done; !isStatus(err, 126) || exists("changed") {
		t.Errorf("got %v", err)
	}
}

func isStatus(err error, status int) bool {
	exit, ok := err.(*ssh.ExitError) //nolint:errorlint // x/crypto/ssh returns it bare
	return ok && exit.ExitStatus() == status
}

func TestAnApprovalThatIsNotWaitedFor(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, approvals(0, "touch"), allow("echo")))
	c := s.Client(t)
	file := filepath.Join(server.HomeOf(sshserver.User), "later")
	t.Cleanup(func() { _ = os.Remove(file) })
	first := start(t, c, "touch "+file)
	first.stderr.until(t, "Run exactly the same again once it is approved")
	if err := <-first.done; !isStatus(err, 126) {
		t.Errorf("got %v", err)
	}
	s.Desk.Decide(1, "Approved", "")
	other := start(t, c, "touch "+file+" "+file+"2")
	if err := <-other.done; !isStatus(err, 126) {
		t.Errorf("another command: %v", err)
	}
	again := start(t, c, "touch   '"+file+"'") // the same words
	if err := <-again.done; err != nil {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestEveryRuleOfACompoundIsAsked(t *testing.T) {
	second := approvals(900, "tee")
	second.Name = "ask-others"
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, approvals(900, "touch"), second, allow("echo")))
	c := s.Client(t)
	waits := start(t, c, "touch one | tee two")
	first := s.Desk.Next(t, 1)
	if strings.Contains(first.Verdict.Rule, "unrecognised") {
		t.Skip("the recogniser does not see into pipes yet")
	}
	s.Desk.Decide(1, "Approved", "")
	if ask := s.Desk.Next(t, 2); ask.Verdict.Rule == first.Verdict.Rule || ask.Digest != first.Digest {
		t.Errorf("asked %+v, then %+v", first, ask)
	}
	s.Desk.Decide(2, "Denied", "no")
	if err := <-waits.done; !isStatus(err, 126) {
		t.Errorf("got %v", err)
	}
}

func TestAccessIsGrantedByPeople(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("echo")), func(p *policy.Policy) {
		p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, TimeoutSeconds: 900, WaitSeconds: 900}}
	})
	c := s.Client(t)
	waits := start(t, c, "echo in")
	waits.stderr.until(t, "waiting for approval: request apr-1")
	if ask := s.Desk.Next(t, 1); ask.Text != "log in to target bastion" || ask.Verdict.Rule != "access" {
		t.Errorf("asked %+v", ask)
	}
	s.Desk.Decide(1, "Approved", "")
	if err := <-waits.done; err != nil {
		t.Fatal(err)
	}
	refused := start(t, s.Client(t), "echo in")
	s.Desk.Next(t, 2)
	s.Desk.Decide(2, "Denied", "who are you")
	refused.stderr.until(t, "who are you")
	if err := <-refused.done; !isStatus(err, 126) {
		t.Errorf("got %v", err)
	}
}

func TestASessionEndsWithTheTimeThatItWasGrantedFor(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("echo", "sleep")), func(p *policy.Policy) {
		p.Targets[0].Access = &policy.Access{MaxDurationSeconds: 2}
	})
	c := s.Client(t)
	running := start(t, c, "echo up >&2; sleep 1000")
	running.stderr.until(t, "up")
	running.stderr.until(t, "the time that access was granted for is over")
	if err := <-running.done; !isStatus(err, 255) {
		t.Errorf("got %v", err)
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection lived on")
	}
}

func TestAnApproverReadsWhyTheAgentWantsIt(t *testing.T) {
	target := sshsidecar.SSH(needServer(t), approvals(900, "touch"))
	target.Masking = []policy.Masking{{Detectors: []string{"Email"}}}
	s := sshsidecar.Start(t, server, target)
	cmd := s.Command("ssh", "-o", `SetEnv=CHAPERONE_JUSTIFICATION="asked by jane.doe@example.com"`, Host, "touch x")
	done := make(chan result, 1)
	go func() { done <- run(t, cmd, "") }()
	if ask := s.Desk.Next(t, 1); !strings.HasPrefix(ask.Justification, "asked by ") || strings.Contains(ask.Justification, "jane") {
		t.Errorf("asked %+v", ask)
	}
	s.Desk.Decide(1, "Denied", "no")
	if got := <-done; got.status != 126 {
		t.Errorf("got %+v", got)
	}
}
