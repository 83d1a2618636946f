package sshserver

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestServer(t *testing.T) {
	s, err := Start()
	if errors.Is(err, ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	key, err := ssh.ParsePrivateKey(s.UserKey)
	if err != nil {
		t.Fatal(err)
	}
	signer, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(principal string) ssh.Signer {
		c := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{principal}, ValidBefore: uint64(time.Now().Add(time.Minute).Unix())}
		if err := c.SignCert(rand.Reader, s.Authority); err != nil {
			t.Fatal(err)
		}
		out, err := ssh.NewCertSigner(c, signer)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		auth ssh.AuthMethod
		ok   bool
	}{
		"lets the key in":                             {ssh.PublicKeys(key), true},
		"lets the password in":                        {ssh.Password(Password), true},
		"lets a certificate of its authority in":      {ssh.PublicKeys(certificate(User)), true},
		"refuses another password":                    {ssh.Password("wrong"), false},
		"refuses a key that it does not know":         {ssh.PublicKeys(signer), false},
		"refuses a certificate that names other user": {ssh.PublicKeys(certificate(OtherUser)), false},
	} {
		t.Run(name, func(t *testing.T) {
			c2, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
				User: User, Auth: []ssh.AuthMethod{c.auth}, HostKeyCallback: ssh.FixedHostKey(s.HostKey), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
			})
			if !c.ok {
				if err == nil {
					t.Fatal("it did not")
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Log())
			}
			defer c2.Close()
			session, err := c2.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			out, err := session.CombinedOutput("id -un; pwd; touch here")
			if err != nil || string(out) != User+"\n"+s.HomeOf(User)+"\n" {
				t.Fatalf("%q, %v", out, err)
			}
			if _, err := os.Stat(filepath.Join(s.HomeOf(User), "here")); err != nil {
				t.Error(err)
			}
		})
	}
}
