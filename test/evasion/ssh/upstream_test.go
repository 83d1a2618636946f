package ssh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestImpostors puts somebody else in the server's place: none may be shown a credential or a command.
func TestImpostors(t *testing.T) {
	needServer(t)
	host, authority := signer(t), signer(t)
	certified := func(kind uint32, by ssh.Signer, from, to time.Duration, names ...string) ssh.Signer {
		c := &ssh.Certificate{Key: host.PublicKey(), CertType: kind, ValidPrincipals: names,
			ValidAfter: uint64(time.Now().Add(from).Unix()), ValidBefore: uint64(time.Now().Add(to).Unix())}
		if err := c.SignCert(rand.Reader, by); err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewCertSigner(c, host)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	line := func(what, names string, key ssh.PublicKey) string {
		return strings.TrimSpace(what+" "+names+" "+string(ssh.MarshalAuthorizedKey(key))) + "\n"
	}
	real := string(server.KnownHosts(sshserver.Host, 22))
	trusted := line("@cert-authority", sshserver.Host, authority.PublicKey())
	for name, tc := range map[string]struct {
		known string
		key   ssh.Signer
		let   bool
	}{
		"with a key of its own":                             {real, host, false},
		"with a certificate by its own authority":           {real, certified(ssh.HostCert, signer(t), -time.Hour, time.Hour, sshserver.Host), false},
		"with a key that is known under another name":       {real + line("", "other.test", host.PublicKey()), host, false},
		"with a key that is known under another port":       {real + line("", "["+sshserver.Host+"]:2222", host.PublicKey()), host, false},
		"with a key that is revoked":                        {line("", sshserver.Host, host.PublicKey()) + line("@revoked", "*", host.PublicKey()), host, false},
		"with a key whose name is excluded":                 {real + line("", "*,!"+sshserver.Host, host.PublicKey()), host, false},
		"with a certificate for another name":               {trusted, certified(ssh.HostCert, authority, -time.Hour, time.Hour, "other.test"), false},
		"with a certificate for no name":                    {trusted, certified(ssh.HostCert, authority, -time.Hour, time.Hour), false},
		"with a certificate that is over":                   {trusted, certified(ssh.HostCert, authority, -2*time.Hour, -time.Hour, sshserver.Host), false},
		"with a certificate that has not begun":             {trusted, certified(ssh.HostCert, authority, time.Hour, 2*time.Hour, sshserver.Host), false},
		"with a certificate for users":                      {trusted, certified(ssh.UserCert, authority, -time.Hour, time.Hour, sshserver.Host), false},
		"with a certificate whose authority is revoked":     {trusted + line("@revoked", "*", authority.PublicKey()), certified(ssh.HostCert, authority, -time.Hour, time.Hour, sshserver.Host), false},
		"with the authority's own key":                      {trusted, authority, false},
		"with a plain key where an authority is known":      {trusted, host, false},
		"with a key that is known":                          {line("", sshserver.Host, host.PublicKey()), host, true}, // the oracle sees what is shown
		"with a certificate by the authority that is known": {trusted, certified(ssh.HostCert, authority, -time.Hour, time.Hour, sshserver.Host), true},
	} {
		t.Run(name, func(t *testing.T) {
			var shown atomic.Int64
			address := impersonate(t, tc.key, &shown)
			p := policies()["deny"]
			p.KnownHosts = []byte(tc.known)
			s := sshsidecar.Start(t, server, p)
			s.Set(func() {
				s.Dial = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
				s.Lease.Password = sshserver.Password
			})
			got := execute(t, s.Client(t), "echo a", "")
			if tc.let {
				if shown.Load() == 0 {
					t.Errorf("it was shown nothing: %s", got)
				}
				return
			}
			if n := shown.Load(); n != 0 {
				t.Errorf("it was shown %d credentials", n)
			}
			if got.status != 255 || !strings.Contains(got.stderr, "chaperone: ") || strings.Contains(got.stdout+got.stderr, sshserver.Password) {
				t.Errorf("received %s", got)
			}
		})
	}
}

// impersonate serves a key exchange and counts the credentials that follow.
func impersonate(t *testing.T, key ssh.Signer, shown *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	count := func() (*ssh.Permissions, error) {
		shown.Add(1)
		return nil, ssh.ErrNoAuth
	}
	config := &ssh.ServerConfig{
		PasswordCallback:  func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return count() },
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return count() },
		KeyboardInteractiveCallback: func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			return count()
		},
	}
	config.AddHostKey(key)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _, _, _ = ssh.NewServerConn(conn, config)
			}()
		}
	}()
	return l.Addr().String()
}
