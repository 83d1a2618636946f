package ssh_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestAKeyIsCertifiedForEachConnection(t *testing.T) {
	target := sshsidecar.SSH(needServer(t), allowAll)
	target.Certified, target.User, target.Users = true, "", []string{sshserver.User, sshserver.OtherUser}
	s := sshsidecar.Start(t, server, target)
	s.Set(func() { s.Lease = nil })
	var keys []string
	principal := sshserver.User
	certify := func(user string, publicKey []byte) (*session.Lease, error) {
		if user != sshserver.User {
			return nil, errors.New("not this user")
		}
		key, err := ssh.ParsePublicKey(publicKey)
		if err != nil {
			return nil, err
		}
		keys = append(keys, string(publicKey))
		c := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{principal}, ValidBefore: uint64(time.Now().Add(time.Minute).Unix())}
		if err := c.SignCert(rand.Reader, server.Authority); err != nil {
			return nil, err
		}
		return &session.Lease{CertificatePEM: ssh.MarshalAuthorizedKey(c)}, nil
	}
	s.Set(func() { s.Certify = certify })
	for range 2 {
		if got := run(t, s.Command("ssh", sshserver.User+"@"+Host, "id -un"), ""); got.stdout != sshserver.User+"\n" {
			t.Fatalf("got %+v", got)
		}
	}
	if len(keys) != 2 || keys[0] == keys[1] {
		t.Errorf("%d keys were certified, or the same one twice", len(keys))
	}
	refused := func(name, user, words string) {
		t.Run(name, func(t *testing.T) {
			if got := run(t, s.Command("ssh", user+"@"+Host, "id -un"), ""); got.status == 0 || !strings.Contains(got.stderr, words) {
				t.Errorf("got %+v, not %q", got, words)
			}
		})
	}
	refused("an authority that refuses is told in words", sshserver.OtherUser, "no certificate for target bastion: not this user")
	refused("a user that no policy lists is not asked for", "root", `denied: user "root"`)
	s.Set(func() { principal = sshserver.OtherUser })
	refused("the server has the last word", sshserver.User, "does not accept the credential")
	s.Set(func() {
		s.Certify = func(string, []byte) (*session.Lease, error) {
			c := &ssh.Certificate{Key: server.Authority.PublicKey(), CertType: ssh.UserCert}
			if err := c.SignCert(rand.Reader, server.Authority); err != nil {
				return nil, err
			}
			return &session.Lease{CertificatePEM: ssh.MarshalAuthorizedKey(c)}, nil
		}
	})
	refused("a certificate for another key is of no use", sshserver.User, "not for the key that was sent")
}
