package ssh

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// certified logs in by a key that is made for this connection and certified by the operator for its user.
func (c *connection) certified(ctx context.Context, t *target, asked string) (*login, error) {
	user, err := t.chooseUser(asked, "")
	if err != nil {
		return nil, err
	}
	signer, err := c.certify(ctx, t, user)
	if err != nil {
		ref := t.settings.Lease
		r := failure(err, fmt.Sprintf("no certificate for target %s: %v", ref.Target, err), "")
		r.detail = "policy " + ref.Policy + ", target " + ref.Target
		return nil, r
	}
	return &login{user: user, methods: []ssh.AuthMethod{ssh.PublicKeys(signer)}}, nil
}

func (c *connection) certify(ctx context.Context, t *target, user string) (ssh.Signer, error) {
	certifier, ok := c.session.Credentials.(session.Certifier)
	if !ok {
		return nil, errors.New("nothing here has keys certified")
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	lease, err := certifier.Certify(ctx, t.settings.Lease.Policy, t.settings.Lease.Target, user, signer.PublicKey().Marshal())
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(lease.CertificatePEM)
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	certificate, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("it is a plain key")
	}
	if signer, err = ssh.NewCertSigner(certificate, signer); err != nil {
		return nil, fmt.Errorf("it is not for the key that was sent: %w", err)
	}
	return signer, nil
}
