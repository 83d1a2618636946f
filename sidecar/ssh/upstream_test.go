package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestTheTargetIsReachedWithTheLeasedCredential(t *testing.T) {
	needServer(t)
	key := session.Lease{KeyPEM: server.UserKey}
	tests := map[string]struct {
		target func(*policy.SSH)
		lease  session.Lease
		err    error
		user   string
		want   string // on standard output, or in the refusal
		fails  bool
	}{
		"a key":                            {nil, key, nil, "", sshserver.User, false},
		"a password":                       {nil, session.Lease{Password: sshserver.Password}, nil, "", sshserver.User, false},
		"the key's own user":               {func(s *policy.SSH) { s.User = "" }, session.Lease{Username: sshserver.OtherUser, KeyPEM: server.UserKey}, nil, "", sshserver.OtherUser, false},
		"the policy's user wins":           {nil, session.Lease{Username: sshserver.OtherUser, KeyPEM: server.UserKey}, nil, "root", sshserver.User, false},
		"a user of the list":               {func(s *policy.SSH) { s.User, s.Users = "", []string{"x", sshserver.OtherUser} }, key, nil, sshserver.OtherUser, sshserver.OtherUser, false},
		"a user that is not in it":         {func(s *policy.SSH) { s.User, s.Users = "", []string{sshserver.OtherUser} }, key, nil, "root", `denied: user "root" of target bastion`, true},
		"no user":                          {func(s *policy.SSH) { s.User = "" }, key, nil, "root", "no user is known for target bastion", true},
		"a wrong password":                 {nil, session.Lease{Password: "wrong"}, nil, "", "does not accept the credential that the policy gives for user deploy", true},
		"no key":                           {nil, session.Lease{KeyPEM: []byte("x")}, nil, "", "its private key cannot be read", true},
		"nothing":                          {nil, session.Lease{}, nil, "", "it holds neither a key nor a password", true},
		"no lease":                         {nil, key, errors.New("the Secret is gone"), "", "no credential for target bastion: the Secret is gone", true},
		"none where the policy gives none": {func(s *policy.SSH) { s.HasCredentials = false }, key, nil, "", "does not let user deploy in without a credential", true},
		"another host's key":               {func(s *policy.SSH) { s.KnownHosts = otherKey(t) }, key, nil, "", "is not who the policy says", true},
		"the host known by its authority":  {func(s *policy.SSH) { s.KnownHosts = authority(Host) }, key, nil, "", sshserver.User, false},
		"an authority for another name":    {func(s *policy.SSH) { s.KnownHosts = authority("other.test") }, key, nil, "", "no known_hosts line is for bastion.test port 22", true},
		"the key revoked": {func(s *policy.SSH) {
			s.KnownHosts = append(server.KnownHosts(Host, 22), "@revoked "+string(server.KnownHosts("*", 22))...)
		}, key, nil, "", "is revoked", true},
		"known hosts that cannot be read":       {func(s *policy.SSH) { s.KnownHosts = []byte("@unknown x ssh-ed25519 AAAA\n") }, key, nil, "", "cannot be read", true},
		"a pattern that cannot be searched for": {func(s *policy.SSH) { s.Masking = []policy.Masking{{Pattern: "x*"}} }, key, nil, "", "the pattern matches the empty text", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			target := sshsidecar.SSH(server, allow("id"))
			if tc.target != nil {
				tc.target(&target)
			}
			s := sshsidecar.Start(t, server, target)
			s.Set(func() { s.Lease, s.LeaseErr = &tc.lease, tc.err })
			args := []string{Host, "id", "-un"}
			if tc.user != "" {
				args = append([]string{"-l", tc.user}, args...)
			}
			got := run(t, s.Command("ssh", args...), "")
			if tc.fails {
				if got.status == 0 || got.stdout != "" || !strings.Contains(got.stderr, tc.want) {
					t.Errorf("got %+v, want %q", got, tc.want)
				}
				return
			}
			if got.status != 0 || got.stdout != tc.want+"\n" {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
		})
	}
}

func otherKey(t *testing.T) []byte {
	t.Helper()
	return append([]byte(Host+" "), ssh.MarshalAuthorizedKey(server.HostAuthority)...)
}

func authority(name string) []byte {
	return append([]byte("@cert-authority "+name+" "), ssh.MarshalAuthorizedKey(server.HostAuthority)...)
}

func TestATargetThatCannotBeReached(t *testing.T) {
	needServer(t)
	listen := func(t *testing.T, serve func(net.Conn, int)) string {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		var n atomic.Int64
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serve(c, int(n.Add(1)))
			}
		}()
		return l.Addr().String()
	}
	dial := func(address string) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
	}
	pass := func(c net.Conn) {
		up, err := net.Dial("tcp", server.Address())
		if err != nil {
			c.Close()
			return
		}
		go func() { _, _ = io.Copy(up, c); up.Close() }()
		_, _ = io.Copy(c, up)
		c.Close()
	}
	s := sshsidecar.Start(t, server, sshsidecar.SSH(server, allow("echo", "sleep")))
	t.Run("is tried again when it is too busy", func(t *testing.T) {
		address := listen(t, func(c net.Conn, n int) {
			if n <= 3 {
				fmt.Fprint(c, "Exceeded MaxStartups\r\n")
				c.Close()
				return
			}
			pass(c)
		})
		s.Set(func() { s.Dial = dial(address) })
		if got := run(t, s.Command("ssh", Host, "echo in"), ""); got.stdout != "in\n" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("is said in words", func(t *testing.T) {
		s.Set(func() {
			s.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("no route to it") }
		})
		if got := run(t, s.Command("ssh", Host, "echo in"), ""); got.status != 255 || !strings.Contains(got.stderr, "could not connect to target bastion (bastion.test port 22): no route to it") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("is noticed when it goes away", func(t *testing.T) {
		cut := make(chan struct{})
		address := listen(t, func(c net.Conn, _ int) {
			go func() { <-cut; time.Sleep(10 * time.Millisecond); c.Close() }()
			pass(c)
		})
		s.Set(func() { s.Dial = dial(address) })
		c := s.Client(t)
		running := start(t, c, "echo up >&2; sleep 1000")
		running.stderr.until(t, "up")
		close(cut)
		running.stderr.until(t, "the connection to target bastion was lost")
		if err := <-running.done; !isStatus(err, 255) {
			t.Errorf("got %v", err)
		}
		if err := c.Wait(); err == nil {
			t.Error("the connection lived on")
		}
	})
}
