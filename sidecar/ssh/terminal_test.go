package ssh_test

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// terminal begins a shell on a terminal and returns its input and what it shows.
func terminal(t *testing.T, c *ssh.Client) (session *ssh.Session, in io.WriteCloser, shown *lines) {
	t.Helper()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestPty("xterm", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
		t.Fatal(err)
	}
	if in, err = session.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	return session, in, &lines{r: out}
}

func TestATerminalIsRecordedAndMasked(t *testing.T) {
	target := sshsidecar.SSH(needServer(t), allowShell)
	target.Masking = []policy.Masking{{Detectors: []string{"Email"}}}
	s := sshsidecar.Start(t, server, target)
	session, in, shown := terminal(t, s.Client(t))
	// What is typed holds no match; what is printed comes in one write, so that no pause of a busy machine cuts it in two.
	if _, err := io.WriteString(in, "printf '%s@%s %s\\n' jane.doe example.com end\n"); err != nil {
		t.Fatal(err)
	}
	shown.until(t, "end")
	if strings.Contains(shown.b.String(), "jane") || strings.Contains(shown.b.String(), "example.com") {
		t.Errorf("the agent sees %q", shown.b.String())
	}
	if err := session.WindowChange(50, 132); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "stty size; exit 3\n"); err != nil {
		t.Fatal(err)
	}
	shown.until(t, "50 132")
	if err := session.Wait(); !isStatus(err, 3) {
		t.Errorf("got %v", err)
	}
	logs := s.Terminals()
	if len(logs) != 1 {
		t.Fatalf("%d terminals are recorded", len(logs))
	}
	logs[0].Find(record.KindDisconnect, nil)
	events, closed := logs[0].Events(), logs[0].Closed()
	var all strings.Builder
	sizes := []int{}
	for _, e := range events {
		switch e.Kind {
		case record.KindOutput:
			all.WriteString(e.Data)
		case record.KindResize:
			sizes = append(sizes, e.Columns)
		}
	}
	if !closed || strings.Contains(all.String(), "jane") || !strings.Contains(all.String(), "50 132") {
		t.Errorf("recorded %q, closed: %v", all.String(), closed)
	}
	if len(sizes) != 2 || sizes[0] != 80 || sizes[1] != 132 {
		t.Errorf("sizes are %v", sizes)
	}
}

func TestATerminalIsAPermissionOfItsOwn(t *testing.T) {
	tests := map[string]struct {
		rules []policy.Rule
		want  string
	}{
		"an empty rule does not allow it": {[]policy.Rule{allowAll}, "an interactive terminal is not allowed"},
		"programs do not allow it":        {[]policy.Rule{allow("*")}, "an interactive terminal is not allowed"},
		"a rule against some program is against it": {[]policy.Rule{
			{Name: "no-rm", Match: policy.Match{Programs: []string{"rm"}}, Action: policy.Deny}, allowShell}, `rule "no-rm"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, tc.rules...))
			session, err := s.Client(t).NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
			said, err := session.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Shell(); err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(said)
			if err := session.Wait(); !isStatus(err, 126) || !strings.Contains(string(text), tc.want) {
				t.Errorf("got %v: %q", err, text)
			}
			if n := len(s.Terminals()); n != 0 {
				t.Errorf("%d terminals are recorded", n)
			}
		})
	}
}

func TestWhatATerminalShowsIsRecordedOrNotShown(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowShell))
	session, in, shown := terminal(t, s.Client(t))
	if _, err := io.WriteString(in, "echo be''gun\n"); err != nil {
		t.Fatal(err)
	}
	shown.until(t, "begun")
	s.Terminals()[0].Fails(io.ErrShortWrite, nil)
	if _, err := io.WriteString(in, "echo un''seen\n"); err != nil {
		t.Fatal(err)
	}
	if err := session.Wait(); err == nil {
		t.Error("it went on")
	}
	if strings.Contains(shown.b.String(), "unseen") {
		t.Errorf("the agent sees %q", shown.b.String())
	}
}
