package trust

import (
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// HostSigners are what the sidecar proves itself by to SSH clients: the host key as it is, and certificates for it by
// the pod's authority.
type HostSigners struct {
	// Plain is for clients that know the key itself.
	Plain ssh.Signer
	// Unnamed is a certificate without principals, which is for every host; Star one whose only principal is `*`.
	// OpenSSH before 10.3 compares names and takes the former alone; from 10.3 on it refuses certificates without
	// principals and takes patterns.
	Unnamed ssh.Signer
	Star    ssh.Signer
}

// Signers makes the certificates. They live as long as the pod's other authority: agents read it once.
func (k *HostKeys) Signers() (*HostSigners, error) {
	plain, err := ssh.NewSignerFromSigner(k.Host)
	if err != nil {
		return nil, fmt.Errorf("using the pod's SSH host key: %w", err)
	}
	authority, err := ssh.NewSignerFromSigner(k.Authority)
	if err != nil {
		return nil, fmt.Errorf("using the pod's SSH authority: %w", err)
	}
	out := &HostSigners{Plain: plain}
	now := time.Now()
	for _, c := range []struct {
		signer     *ssh.Signer
		principals []string
	}{{&out.Unnamed, nil}, {&out.Star, []string{"*"}}} {
		certificate := &ssh.Certificate{
			Key: plain.PublicKey(), CertType: ssh.HostCert, KeyId: "Chaperone", ValidPrincipals: c.principals,
			ValidAfter: uint64(now.Add(-backdate).Unix()), ValidBefore: uint64(now.Add(authorityLife).Unix()),
		}
		if err := certificate.SignCert(rand.Reader, authority); err != nil {
			return nil, fmt.Errorf("signing the pod's SSH host key: %w", err)
		}
		if *c.signer, err = ssh.NewCertSigner(certificate, plain); err != nil {
			return nil, fmt.Errorf("using the pod's SSH host certificate: %w", err)
		}
	}
	return out, nil
}
