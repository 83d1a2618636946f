package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// patience is how long anything may take on a machine that is busy.
const patience = 60 * time.Second

// server is the sshd that all tests share; nil where the tests do not run as root.
var server *sshserver.Server

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	var err error
	// What an adversary would like to find.
	server, err = sshserver.Start("AcceptEnv *", "PermitTunnel yes", "X11Forwarding yes", "AllowAgentForwarding yes", "GatewayPorts clientspecified",
		"PermitUserEnvironment yes", "MaxSessions 1000", "MaxStartups 1000", "Subsystem evil /bin/sh -c 'touch \"$HOME/mark\"'")
	if errors.Is(err, sshserver.ErrNeedsRoot) {
		return m.Run(), nil
	}
	if err != nil {
		return 1, err
	}
	defer server.Stop()
	return m.Run(), nil
}

func needServer(t testing.TB) {
	t.Helper()
	if server == nil {
		t.Skip(sshserver.ErrNeedsRoot)
	}
}

// files are those of the user's home: what a case may not change.
var files = map[string]string{
	"keep": "kept\n",
	// What an adversary has got onto the server before.
	"evil.sh": "#!/bin/sh\ntouch \"$HOME/mark\"\n",
	"secrets": secrets,
}

// furnish makes the user's home as it is at the beginning.
func furnish(t testing.TB) {
	t.Helper()
	home := server.HomeOf(sshserver.User)
	info, err := os.Stat(home)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	entries, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(home, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// untouched says what is not as it was in the user's home.
func untouched() string {
	home := server.HomeOf(sshserver.User)
	seen := 0
	changed := ""
	err := filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == home {
			return err
		}
		name, _ := filepath.Rel(home, path)
		want, known := files[name]
		got, err := os.ReadFile(path)
		if !known || err != nil || string(got) != want {
			changed = name
			return nil //nolint:nilerr // that it cannot be read is a change
		}
		seen++
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err.Error()
	case changed != "":
		return changed + " is new or changed"
	case seen != len(files):
		return "a file is gone"
	}
	return ""
}

// Policies that cases are tried under.
func policies() map[string]policy.SSH {
	return map[string]policy.SSH{
		// Some programs are allowed, which can only show something.
		"allow": sshsidecar.SSH(server, policy.Rule{Name: "shows", Action: policy.Allow, Match: policy.Match{
			Programs: []string{"echo", "printf", "cat", "ls", "true", "printenv", "sleep", "rev"},
		}}),
		// Some programs are forbidden, everything else is allowed.
		"deny": func() policy.SSH {
			p := sshsidecar.SSH(server, policy.Rule{Name: "no-touch", Action: policy.Deny, Match: policy.Match{Programs: []string{"touch", "rm"}}})
			p.DefaultAction = policy.Allow
			return p
		}(),
	}
}

// interpreting are the same policies, asking for scripts to be interpreted.
func interpreting() map[string]policy.SSH {
	out := policies()
	for name, p := range out {
		p.Interpret = true
		out[name] = p
	}
	return out
}

func yes() *bool { b := true; return &b }

// direct connects to the server past the sidecar.
func direct(t testing.TB) *ssh.Client {
	t.Helper()
	key, err := ssh.ParsePrivateKey(server.UserKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", server.Address(), &ssh.ClientConfig{
		User: sshserver.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(server.HostKey),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answer is what an adversary received.
type answer struct {
	stdout, stderr string
	status         int // -1: none came
}

func (a answer) String() string {
	return fmt.Sprintf("status %d, %.300q, %.500q", a.status, a.stdout, a.stderr)
}

// refused says what is missing in a refusal.
func (a answer) refused() string {
	switch {
	case a.status != 126:
		return "the status is not 126"
	case !strings.Contains(a.stderr, "chaperone: denied"):
		return "it does not say that it is denied"
	case !strings.Contains(a.stderr, "prod/ops"):
		return "it does not name the policy"
	case !strings.Contains(a.stderr, "rule "):
		return "it does not name the rule"
	}
	return ""
}

// execute runs a command in a session of its own and waits for its end.
func execute(t testing.TB, c *ssh.Client, command, stdin string, before ...func(*ssh.Session)) answer {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatalf("the connection is gone: %v", err)
	}
	defer s.Close()
	for _, f := range before {
		f(s)
	}
	var out, errs lockedBuffer
	s.Stdout, s.Stderr = &out, &errs
	s.Stdin = strings.NewReader(stdin)
	if err := s.Start(command); err != nil {
		return answer{status: -1, stderr: err.Error()}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(patience):
		t.Fatalf("no end within %s", patience)
	}
	a := answer{stdout: out.String(), stderr: errs.String()}
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		a.status = exit.ExitStatus()
	case err != nil:
		a.status = -1
	}
	return a
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits for a condition.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

// landing listens where a tunnel would lead to, and counts who comes.
type landing struct {
	net.Listener
	mu   sync.Mutex // guards came
	came int
}

func land(t testing.TB, network, address string) *landing {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	out := &landing{Listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			out.mu.Lock()
			out.came++
			out.mu.Unlock()
			go func() {
				_, _ = io.WriteString(conn, "landed\n")
				conn.Close()
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return out
}

func (l *landing) visitors() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came
}
