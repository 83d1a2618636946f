package ssh

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

func hostKeys(t testing.TB) (*trust.HostKeys, *trust.HostSigners) {
	t.Helper()
	keys, err := trust.LoadHostKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	signers, err := keys.Signers()
	if err != nil {
		t.Fatal(err)
	}
	return keys, signers
}

// pair is two ends of a connection that, unlike net.Pipe's, take what nobody reads yet: both sides of SSH speak first.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if near, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

func TestTheHostCertificateSuitsTheClient(t *testing.T) {
	keys, signers := hostKeys(t)
	authority, err := ssh.NewPublicKey(keys.Authority.Public())
	if err != nil {
		t.Fatal(err)
	}
	p := New(Options{Host: signers})
	tests := map[string]struct {
		banner     string
		principals []string
	}{
		"OpenSSH 9.2 wants no names":              {"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u6", nil},
		"OpenSSH 10.0 wants no names":             {"SSH-2.0-OpenSSH_10.0p2", nil},
		"OpenSSH 10.2 wants no names":             {"SSH-2.0-OpenSSH_10.2p1", nil},
		"OpenSSH 10.3 wants a pattern":            {"SSH-2.0-OpenSSH_10.3p1", []string{"*"}},
		"OpenSSH 11.0 wants a pattern":            {"SSH-2.0-OpenSSH_11.0", []string{"*"}},
		"Go knows no patterns":                    {"SSH-2.0-Go", nil},
		"a client that calls itself something":    {"SSH-2.0-OpenSSH_", nil},
		"OpenSSH for Windows is OpenSSH 9.5 here": {"SSH-2.0-OpenSSH_for_Windows_9.5", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			defer near.Close()
			go func() {
				defer far.Close()
				_, _ = p.greet(&session.Session{Agent: far})
			}()
			var shown ssh.PublicKey
			_, _, _, _ = ssh.NewClientConn(near, "bastion.test:22", &ssh.ClientConfig{
				ClientVersion: tc.banner, User: "x", HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01}, Timeout: 30 * time.Second,
				HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { shown = key; return nil },
			})
			certificate, ok := shown.(*ssh.Certificate)
			if !ok {
				t.Fatalf("it showed %v", shown)
			}
			if len(certificate.ValidPrincipals) != len(tc.principals) || len(tc.principals) > 0 && certificate.ValidPrincipals[0] != tc.principals[0] {
				t.Errorf("it is for %q, want %q", certificate.ValidPrincipals, tc.principals)
			}
			if !bytes.Equal(certificate.SignatureKey.Marshal(), authority.Marshal()) || certificate.CertType != ssh.HostCert {
				t.Error("it is not the pod's authority's host certificate")
			}
		})
	}
}

func TestAVersionLineIsBounded(t *testing.T) {
	_, signers := hostKeys(t)
	p := New(Options{Host: signers})
	near, far := pair(t)
	defer near.Close()
	go func() {
		p := make([]byte, 1024)
		_, _ = near.Read(p)
		_, _ = near.Write(bytes.Repeat([]byte("x"), 4096))
	}()
	if _, err := p.greet(&session.Session{Agent: far}); err == nil {
		t.Error("it was read without an end")
	}
	far.Close()
}

func TestWhoSpeaksNoSSHIsToldSo(t *testing.T) {
	_, signers := hostKeys(t)
	p := New(Options{Host: signers})
	for name, said := range map[string]string{"an empty line": "\n", "HTTP": "GET / HTTP/1.1\r\n"} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			defer near.Close()
			served := make(chan error, 1)
			go func() {
				_, err := p.greet(&session.Session{Agent: far})
				far.Close()
				served <- err
			}()
			if _, err := near.Write([]byte(said)); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(near)
			if want := version + "\r\nInvalid SSH identification string.\r\n"; err != nil || string(text) != want {
				t.Errorf("got %q, %v", text, err)
			}
			if err := <-served; err == nil {
				t.Error("it was let in")
			}
		})
	}
}

func TestClientsWithoutGCMGetACipher(t *testing.T) {
	_, signers := hostKeys(t)
	p := New(Options{Host: signers})
	tests := map[string]struct {
		banner string
		cipher string
		taken  bool
	}{
		"libssh2 1.10 is let in with CTR":                  {"SSH-2.0-libssh2_1.10.0", ssh.CipherAES256CTR, true},
		"Paramiko 2.12 is let in with CTR":                 {"SSH-2.0-paramiko_2.12.0", ssh.CipherAES128CTR, true},
		"OpenSSH, which would choose it, is not":           {"SSH-2.0-OpenSSH_9.2", ssh.CipherAES128CTR, false},
		"OpenSSH is let in with GCM":                       {"SSH-2.0-OpenSSH_9.2", ssh.CipherAES128GCM, true},
		"nobody is let in with ChaCha20, which costs more": {"SSH-2.0-Go", ssh.CipherChaCha20Poly1305, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			served := make(chan error, 1)
			go func() {
				_, err := p.greet(&session.Session{Agent: far})
				served <- err
			}()
			_, _, _, err := ssh.NewClientConn(near, "", &ssh.ClientConfig{
				Config: ssh.Config{Ciphers: []string{tc.cipher}}, ClientVersion: tc.banner, HostKeyCallback: ssh.InsecureIgnoreHostKey(), // whoever it is
			})
			if (err == nil) != tc.taken {
				t.Errorf("taken: %v", err)
			}
			near.Close()
			if err := <-served; (err == nil) != tc.taken {
				t.Errorf("served: %v", err)
			}
		})
	}
}
