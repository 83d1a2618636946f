package ssh_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// speaker is a server behind the target that says where it is reached.
func speaker(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, says)
			c.Close()
		}
	}()
	return l.Addr().String()
}

func forwarding(kinds ...string) policy.Rule {
	return policy.Rule{Name: "forwardings", Match: policy.Match{Forwarding: kinds}, Action: policy.Allow}
}

func TestAForwardingIsAPermissionOfItsOwn(t *testing.T) {
	address := speaker(t, "from behind")
	to := forwarding("Local")
	to.Match.Addresses = []string{address}
	tests := map[string]struct {
		rules []policy.Rule
		ok    bool
	}{
		"an empty rule does not allow it":         {[]policy.Rule{allowAll}, false},
		"a terminal does not allow it":            {[]policy.Rule{allowShell}, false},
		"another kind does not":                   {[]policy.Rule{forwarding("Remote", "Agent", "X11", "StreamLocal", "Tun")}, false},
		"its kind does":                           {[]policy.Rule{forwarding("Local")}, true},
		"its address does":                        {[]policy.Rule{to}, true},
		"a rule against its address is before it": {[]policy.Rule{{Name: "no", Match: policy.Match{Addresses: []string{"127.0.0.1:*"}}, Action: policy.Deny}, forwarding("Local")}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, tc.rules...))
			conn, err := s.Client(t).Dial("tcp", address)
			if !tc.ok {
				if err == nil || !strings.Contains(err.Error(), "forwarding") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(conn)
			if err != nil || string(text) != "from behind" {
				t.Errorf("%q, %v", text, err)
			}
			conn.Close()
			if r := s.Log.Find(record.KindResult, nil); len(r) != 1 || r[0].Bytes != int64(len(text)) {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}

func TestWhatTheTargetOpensWasAskedFor(t *testing.T) {
	needServer(t)
	t.Run("a listener that is allowed", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, forwarding("Remote")))
		l, err := s.Client(t).Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err == nil {
				fmt.Fprint(c, "from the pod")
				c.Close()
			}
		}()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if text, err := io.ReadAll(conn); err != nil || string(text) != "from the pod" {
			t.Errorf("%q, %v", text, err)
		}
	})
	t.Run("a listener that is not", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, forwarding("Local")))
		if _, err := s.Client(t).Listen("tcp", "127.0.0.1:0"); err == nil {
			t.Error("it listens")
		}
	})
	t.Run("an authentication agent that is not", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, allow("echo", "printenv")))
		c := s.Client(t)
		if err := agent.ForwardToAgent(c, agent.NewKeyring()); err != nil {
			t.Fatal(err)
		}
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.RequestAgentForwarding(session); err != nil {
			t.Fatal(err)
		}
		out, _ := session.CombinedOutput("printenv SSH_AUTH_SOCK")
		if !strings.Contains(string(out), "Agent forwarding is not allowed") || strings.Contains(string(out), "/agent.") {
			t.Errorf("got %q", out)
		}
	})
}

func TestSubsystemsAndOtherChannelsAreRefused(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*"), allowShell))
	c := s.Client(t)
	for subsystem, want := range map[string]string{"sftp": "subsystem sftp is not allowed", "netconf": "subsystem netconf is not allowed"} {
		session, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		if ok, err := session.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{subsystem})); ok || err != nil {
			t.Errorf("%s: it is said to run: %t, %v", subsystem, ok, err)
		}
		if text, _ := io.ReadAll(session.Stderr()); !strings.Contains(string(text), want) {
			t.Errorf("%s: %q", subsystem, text)
		}
	}
	for _, kind := range []string{"tun@openssh.com", "x11", "auth-agent@openssh.com", "session@example.com"} {
		if _, _, err := c.OpenChannel(kind, nil); err == nil {
			t.Errorf("%s was opened", kind)
		}
	}
}

func TestTooManyChannelsAreRefused(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("echo")))
	c := s.Client(t)
	const most = 128
	var last error
	opened := 0
	for range most + 10 {
		channel, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			last = err
			break
		}
		go ssh.DiscardRequests(requests)
		defer channel.Close()
		opened++
	}
	if opened != most || last == nil || !strings.Contains(last.Error(), strconv.Itoa(most)) {
		t.Errorf("%d were opened, then %v", opened, last)
	}
}
