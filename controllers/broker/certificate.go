package broker

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

const (
	// certificateLife is how long a certificate lets its holder log in: each connection asks for one of its own, and a
	// connection that is there outlives it.
	certificateLife = 5 * time.Minute
	// certificateSkew is how much a server's clock may be behind.
	certificateSkew = time.Minute
	// maxSSHKey bounds a public key that is to be signed; the sidecar's are Ed25519.
	maxSSHKey = 4 << 10
)

// isAuthority says that a target's credential is a certificate authority.
func isAuthority(t *v1alpha1.Target) bool {
	return t.SSH != nil && t.SSH.Credentials != nil && t.SSH.Credentials.CertificateAuthorityRef != nil
}

// authority reads the key of a certificate authority. The error goes on after the Secret's name.
func authority(s *corev1.Secret) (ssh.Signer, error) {
	if s.Type != corev1.SecretTypeSSHAuth {
		return nil, fmt.Errorf("is of type %s; a certificate authority is of type %s", s.Type, corev1.SecretTypeSSHAuth)
	}
	key := s.Data[corev1.SSHAuthPrivateKey]
	if len(key) == 0 {
		return nil, fmt.Errorf("has no key %s", corev1.SSHAuthPrivateKey)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		// The parser's error may quote what it read.
		return nil, fmt.Errorf("has no private key without a passphrase in %s", corev1.SSHAuthPrivateKey)
	}
	return signer, nil
}

// certificate signs a sidecar's key for one user of the target.
func (b *Broker) certificate(c *caller, ap *v1alpha1.AgentPolicy, t *v1alpha1.Target, s *corev1.Secret, req *controlpb.LeaseRequest, notAfter time.Time, granted string) (*controlpb.LeaseResponse, error) {
	if len(req.GetSshPublicKey()) > maxSSHKey || len(req.GetSshUser()) > maxName {
		return nil, status.Error(codes.InvalidArgument, "the key or the user is too long")
	}
	user := req.GetSshUser()
	if user == "" || user != t.SSH.User && !slices.Contains(t.SSH.Users, user) {
		return nil, status.Errorf(codes.PermissionDenied, "policy %s lets nobody in to target %s as that user (ssh.user, ssh.users)", req.GetPolicy(), t.Name)
	}
	key, err := ssh.ParsePublicKey(req.GetSshPublicKey())
	if err != nil || key.Type() != ssh.KeyAlgoED25519 {
		return nil, status.Error(codes.InvalidArgument, "the key to be signed is no Ed25519 key")
	}
	signer, err := authority(s)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the certificate authority of target %s: secret %s/%s %v", t.Name, s.Namespace, s.Name, err)
	}
	now := b.Clock.Now()
	if until := now.Add(certificateLife); until.Before(notAfter) {
		notAfter = until
	}
	id := fmt.Sprintf("chaperone pod=%s uid=%s policy=%s target=%s", c.Name(), c.UID, req.GetPolicy(), t.Name)
	if granted != "" {
		id += " approval=" + granted
	}
	line, err := mint(signer, key, user, id, now.Add(-certificateSkew), notAfter)
	if err != nil {
		b.Log.Error(err, "signing a certificate", "pod", c.Name(), "target", t.Name)
		return nil, status.Errorf(codes.FailedPrecondition, "the certificate authority of target %s cannot sign", t.Name)
	}
	return &controlpb.LeaseResponse{Username: user, CertificatePem: line, NotAfterUnixMs: notAfter.UnixMilli()}, nil
}

// mint signs a user certificate (OpenSSH PROTOCOL.certkeys) for one principal. It permits what sshd may permit at all:
// which of it the agent gets is for the sidecar to judge. What runs by itself at a login (permit-user-rc) is not in it.
func mint(authority ssh.Signer, key ssh.PublicKey, user, id string, from, until time.Time) ([]byte, error) {
	var serial [8]byte
	rand.Read(serial[:])
	c := &ssh.Certificate{
		Key: key, Serial: binary.BigEndian.Uint64(serial[:]), CertType: ssh.UserCert, KeyId: id, ValidPrincipals: []string{user},
		ValidAfter: uint64(from.Unix()), ValidBefore: uint64(until.Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"permit-pty": "", "permit-port-forwarding": "", "permit-agent-forwarding": "", "permit-X11-forwarding": "",
		}},
	}
	if err := c.SignCert(rand.Reader, authority); err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(c), nil
}
