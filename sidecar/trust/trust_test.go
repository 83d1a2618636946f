package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := LoadAuthority(t.TempDir(), "prod/agent-0")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leaves(t *testing.T, a *Authority) *Leaves {
	t.Helper()
	l, err := NewLeaves(a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKeysAreMadeOnceAndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	var authorities, hosts, secrets []string
	for range 2 {
		a, err := LoadAuthority(dir, strings.Repeat("namespace/pod", 20))
		if err != nil {
			t.Fatal(err)
		}
		k, err := LoadHostKeys(dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := LoadSecret(dir, "mask.key")
		if err != nil {
			t.Fatal(err)
		}
		authorities, hosts = append(authorities, string(a.PEM())), append(hosts, string(k.KnownHosts(nil)))
		secrets = append(secrets, string(s))
	}
	if authorities[0] != authorities[1] || hosts[0] != hosts[1] || secrets[0] != secrets[1] || len(secrets[0]) != secretSize {
		t.Error("a restart made new keys")
	}
	for _, name := range []string{authorityFile, hostKeysFile, "mask.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestKeysThatCannotBeReadAreNotReplaced(t *testing.T) {
	for name, load := range map[string]func(dir string) error{
		authorityFile: func(dir string) error { _, err := LoadAuthority(dir, "p"); return err },
		hostKeysFile:  func(dir string) error { _, err := LoadHostKeys(dir); return err },
		"mask.key":    func(dir string) error { _, err := LoadSecret(dir, "mask.key"); return err },
	} {
		for _, content := range []string{"", "not PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := load(dir); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%s with %q: %v", name, content, err)
			}
			if got, _ := os.ReadFile(file); string(got) != content {
				t.Errorf("%s was written over", name)
			}
		}
	}
}

// A real client verifies a real handshake.
func TestLeavesVerify(t *testing.T) {
	a := authority(t)
	l := leaves(t, a)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM())
	address := netip.MustParseAddr("::ffff:192.0.2.7")
	hosts := []string{"billing-db.prod.svc.cluster.local", "billing-db"}
	for name, c := range map[string]struct {
		sni  string // as sent
		want string // verified; empty for a refusal
	}{
		"the SNI sent":                          {"Elsewhere.Example", "elsewhere.example"},
		"no SNI, the target's host":             {"", "billing-db.prod.svc.cluster.local"},
		"no SNI, another of its names":          {"", "billing-db"},
		"no SNI, the address":                   {"", "192.0.2.7"},
		"an SNI that is no name":                {"a b", ""},
		"an SNI with a wildcard":                {"*.example", ""},
		"an SNI longer than names are":          {strings.Repeat("a.", 200) + "a", ""},
		"an SNI with an empty label":            {"a..example", ""},
		"an SNI with something that is no text": {"a\x00.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, err := l.For(c.sni, hosts, address)
			if c.want == "" {
				if err == nil {
					t.Errorf("got a certificate for %q", certificate.Leaf.DNSNames)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := net.Pipe()
			go func() {
				_ = tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{*certificate}}).Handshake()
				ours.Close()
			}()
			_ = theirs.SetDeadline(time.Now().Add(5 * time.Second))
			if err := tls.Client(theirs, &tls.Config{RootCAs: roots, ServerName: c.want}).Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLeavesAreKeptRenewedAndBounded(t *testing.T) {
	a := authority(t)
	now := time.Now()
	a.now = func() time.Time { return now }
	l := leaves(t, a)
	get := func(sni string) *tls.Certificate {
		t.Helper()
		c, err := l.For(sni, nil, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := get("a.example")
	if get("A.example") != first {
		t.Error("the second use minted again")
	}
	now = now.Add(leafLife / 2)
	second := get("a.example")
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("half its life later it was not renewed")
	}
	for i := range 2 * maxLeaves {
		get(fmt.Sprintf("%d.example", i))
		get("a.example")
	}
	if len(l.byName) != maxLeaves || l.recent.Len() != maxLeaves {
		t.Errorf("%d certificates are kept", len(l.byName))
	}
	if get("a.example") != second {
		t.Error("a certificate in use was forgotten")
	}
	if _, err := l.For("", nil, netip.Addr{}); err == nil {
		t.Error("a certificate for nobody was made")
	}
}

func TestTheAuthoritySignsLeavesOnly(t *testing.T) {
	a := authority(t)
	block := a.certificate
	if !block.IsCA || !block.MaxPathLenZero || block.KeyUsage != x509.KeyUsageCertSign || block.Subject.CommonName != "pod prod/agent-0" {
		t.Errorf("%+v", block)
	}
	if c, err := leaves(t, a).For("a.example", nil, netip.Addr{}); err != nil || c.Leaf.IsCA {
		t.Errorf("%v, %v", c, err)
	}
}

// Read by an implementation of the format that is not ours.
func TestKnownHosts(t *testing.T) {
	keys, err := LoadHostKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lines := keys.KnownHosts([]SSHHost{
		{"bastion.prod.example", 22}, {"Bastion.prod.example", 22}, {"jump.example", 2222}, {"192.0.2.7", 22}, {"2001:db8::1", 22},
		{"evil\nhost ssh-ed25519 AAAA", 22}, {"* ", 22}, {"", 22},
	})
	if n := bytes.Count(lines, []byte("\n")); n != 5 {
		t.Errorf("%d lines:\n%s", n, lines)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, lines, 0o644); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(file)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.NewPublicKey(keys.Host.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	somewhere := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 22}
	for _, host := range []string{"bastion.prod.example:22", "jump.example:2222", "192.0.2.7:22", "[2001:db8::1]:22"} {
		if err := check(host, somewhere, plain); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := check("jump.example:22", somewhere, plain); err == nil {
		t.Error("another port of a host is known")
	}
	signer, err := ssh.NewSignerFromKey(keys.Authority)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &ssh.Certificate{Key: plain, CertType: ssh.HostCert, ValidPrincipals: []string{"anything.example"}, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(strings.NewReader(strings.Repeat("n", 64)), signer); err != nil {
		t.Fatal(err)
	}
	if err := (&ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool {
		return strings.Contains(string(lines), "@cert-authority * "+k.Type()+" "+base64.StdEncoding.EncodeToString(k.Marshal()))
	}}).CheckHostKey("anything.example:22", somewhere, certificate); err != nil {
		t.Error(err)
	}
}

func TestPublishWritesInPlace(t *testing.T) {
	trust, kube := t.TempDir(), t.TempDir()
	read := func(dir, name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := Publish(trust, kube, "prod", []byte("CA\n"), []byte("a long line of hosts\n")); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(trust, layout.KnownHostsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := Publish(trust, kube, "prod", []byte("CA\n"), []byte("short\n")); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(trust, layout.KnownHostsFile))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || after.Mode().Perm() != 0o644 {
		t.Errorf("the file that is mounted was replaced, or cannot be read by agents: %v", after.Mode())
	}
	for name, got := range map[string]string{
		"short\n": read(trust, layout.KnownHostsFile), "CA\n": read(trust, layout.CAFile) + read(kube, "ca.crt")[3:],
		"prod": read(kube, "namespace"), PlaceholderToken: read(kube, "token"),
	} {
		if got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	if err := Publish(filepath.Join(trust, "missing"), "", "", nil, nil); err == nil {
		t.Error("a volume that is not there went unnoticed")
	}
	alone := t.TempDir()
	if err := Publish(alone, "", "prod", []byte("CA\n"), nil); err != nil {
		t.Errorf("a pod without a service account: %v", err)
	}
}
