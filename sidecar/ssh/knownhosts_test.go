package ssh

import (
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func newKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestHostPatternsAreReadAsOpenSSHReads asks ssh-keygen -F, which prints the lines that are for a host.
func TestHostPatternsAreReadAsOpenSSHReads(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip(err)
	}
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(t))))
	patterns := []string{"a.test", "A.Test", "*.test", "?.test", "a.test,b.test", "!a.test,*.test", "*.test,!a.test", "[a.test]:2222", "[*.test]:2222", "[*]:*",
		"10.0.0.1", "10.0.0.*", "*", "!*", "a.test*", "aa?.test", "", "|1|bad|bad", "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	hosts := []string{"a.test", "b.test", "aab.test", "a.test.x", "[a.test]:2222", "10.0.0.1", "10.0.0.12"}
	for _, p := range patterns {
		if p == "" {
			continue
		}
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(p+" "+key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		compare(t, keygen, file, p, hosts)
		if strings.ContainsAny(p, "*?!|") {
			continue
		}
		if out, err := exec.Command(keygen, "-H", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		compare(t, keygen, file, p+" hashed", hosts)
	}
}

func compare(t *testing.T, keygen, file, what string, hosts []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		out, _ := exec.Command(keygen, "-F", h, "-f", file).Output()
		name, port := h, uint16(22)
		if strings.HasPrefix(h, "[") {
			name, port = "a.test", 2222
		}
		_, err := parseKnownHosts(text, []string{name}, port)
		if want := strings.Contains(string(out), "ssh-ed25519"); (err == nil) != want {
			t.Errorf("%s for %s: found %v, ssh-keygen %v", what, h, err == nil, want)
		}
	}
}

func TestHostCertificates(t *testing.T) {
	_, authority, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(authority)
	if err != nil {
		t.Fatal(err)
	}
	line := "@cert-authority *.test " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	host := newKey(t)
	tests := map[string]struct {
		change func(*ssh.Certificate)
		extra  string
		ok     bool
	}{
		"for the host":                       {func(*ssh.Certificate) {}, "", true},
		"for a pattern":                      {func(c *ssh.Certificate) { c.ValidPrincipals = []string{"*.test"} }, "", true},
		"for another host":                   {func(c *ssh.Certificate) { c.ValidPrincipals = []string{"b.test"} }, "", false},
		"for no host, which would be all":    {func(c *ssh.Certificate) { c.ValidPrincipals = nil }, "", false},
		"of a user":                          {func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, "", false},
		"that has ended":                     {func(c *ssh.Certificate) { c.ValidBefore = 1000 }, "", false},
		"with an option that is not known":   {func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"x": "y"} }, "", false},
		"of a revoked authority":             {func(*ssh.Certificate) {}, "@revoked * " + string(ssh.MarshalAuthorizedKey(signer.PublicKey())), false},
		"for a revoked key":                  {func(*ssh.Certificate) {}, "@revoked * " + string(ssh.MarshalAuthorizedKey(host)), false},
		"whose key is revoked for others":    {func(*ssh.Certificate) {}, "@revoked b.test " + string(ssh.MarshalAuthorizedKey(host)), true},
		"beside a plain key of another host": {func(*ssh.Certificate) {}, "b.test " + string(ssh.MarshalAuthorizedKey(host)), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := &ssh.Certificate{Key: host, CertType: ssh.HostCert, ValidPrincipals: []string{"a.test"}, ValidBefore: ssh.CertTimeInfinity}
			tc.change(c)
			if err := c.SignCert(strings.NewReader(strings.Repeat("r", 64)), signer); err != nil {
				t.Fatal(err)
			}
			k, err := parseKnownHosts([]byte(line+tc.extra), []string{"a.test"}, 22)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.callback([]string{"a.test"})("", nil, c); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
			if k.callback([]string{"a.test"})("", nil, host) == nil {
				t.Error("the plain key was taken too")
			}
		})
	}
}
