package ssh

import (
	"context"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// login is the user and the credential that the target is shown.
type login struct {
	user    string
	methods []ssh.AuthMethod
}

// login leases the policy's credential.
func (c *connection) login(ctx context.Context, t *target) (*login, error) {
	asked := c.agent.conn.User()
	if !t.settings.HasLease {
		user, err := t.chooseUser(asked, "")
		return &login{user: user}, err
	}
	ref := t.settings.Lease
	if t.settings.Certified {
		return c.certified(ctx, t, asked)
	}
	lease, err := c.session.Credentials.Lease(ctx, ref.Policy, ref.Target)
	if err != nil {
		r := failure(err, fmt.Sprintf("no credential for target %s: %v", ref.Target, err), "")
		r.detail = "policy " + ref.Policy + ", target " + ref.Target
		return nil, r
	}
	user, err := t.chooseUser(asked, lease.Username)
	if err != nil {
		return nil, err
	}
	methods, err := authMethods(lease)
	if err != nil {
		r := failure(err, fmt.Sprintf("the credential of target %s cannot be used: %v", ref.Target, err),
			"Whoever owns the policy has to correct its Secret.")
		r.detail = "policy " + ref.Policy + ", target " + ref.Target
		return nil, r
	}
	return &login{user: user, methods: methods}, nil
}

// authMethods are the ways in that a lease opens (RFC 4252 7, 8; RFC 4256).
func authMethods(lease *session.Lease) ([]ssh.AuthMethod, error) {
	var out []ssh.AuthMethod
	if len(lease.KeyPEM) > 0 {
		signer, err := ssh.ParsePrivateKey(lease.KeyPEM)
		if err != nil {
			return nil, fmt.Errorf("its private key cannot be read: %w", err)
		}
		if len(lease.CertificatePEM) > 0 {
			key, _, _, _, err := ssh.ParseAuthorizedKey(lease.CertificatePEM)
			if err != nil {
				return nil, fmt.Errorf("its certificate cannot be read: %w", err)
			}
			certificate, ok := key.(*ssh.Certificate)
			if !ok {
				return nil, fmt.Errorf("its certificate is a plain key")
			}
			if signer, err = ssh.NewCertSigner(certificate, signer); err != nil {
				return nil, fmt.Errorf("its certificate is not for its key: %w", err)
			}
		}
		out = append(out, ssh.PublicKeys(signer))
	}
	if lease.Password != "" {
		out = append(out, ssh.Password(lease.Password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, echos []bool) ([]string, error) {
				// One question that is not shown is the password; anything else is not ours to answer.
				if len(questions) == 0 {
					return nil, nil
				}
				if len(questions) == 1 && !echos[0] {
					return []string{lease.Password}, nil
				}
				return nil, fmt.Errorf("the server asks %d questions, not for a password", len(questions))
			}))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it holds neither a key nor a password")
	}
	return out, nil
}
