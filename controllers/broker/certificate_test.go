package broker

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

func TestACertificateLogsInAsItsUserForMinutes(t *testing.T) {
	server, err := sshserver.Start()
	if errors.Is(err, sshserver.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	now := time.Now()
	b := &Broker{Options: Options{Clock: clocktesting.NewFakeClock(now), Log: logr.Discard()}}
	c := &caller{Identity: Identity{Namespace: "agents", Pod: "billing-0", UID: "1234"}}
	secret := func() *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "ca"}, Type: corev1.SecretTypeSSHAuth,
			Data: map[string][]byte{corev1.SSHAuthPrivateKey: server.AuthorityKey},
		}
	}
	target := &v1alpha1.Target{Name: "bastion", SSH: &v1alpha1.SSHTarget{
		Users:       []string{sshserver.User, "root"},
		Credentials: &v1alpha1.SSHCredentials{CertificateAuthorityRef: &v1alpha1.SecretRef{Name: "ca"}},
	}}
	request := func(user string, key ssh.PublicKey) *controlpb.LeaseRequest {
		return &controlpb.LeaseRequest{Policy: "prod/ops", Target: "bastion", SshUser: user, SshPublicKey: key.Marshal()}
	}
	// A key that the server does not know by itself.
	signer := newSigner(t)
	r, err := b.certificate(c, nil, target, secret(), request(sshserver.User, signer.PublicKey()), now.Add(time.Hour), "access-1")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(r.CertificatePem)
	if err != nil {
		t.Fatal(err)
	}
	certificate := key.(*ssh.Certificate)
	if got, want := certificate.KeyId, "chaperone pod=agents/billing-0 uid=1234 policy=prod/ops target=bastion approval=access-1"; got != want {
		t.Errorf("the key id is %q, not %q", got, want)
	}
	if p := certificate.ValidPrincipals; len(p) != 1 || p[0] != sshserver.User {
		t.Errorf("it is for %q", p)
	}
	if life := time.Duration(certificate.ValidBefore-certificate.ValidAfter) * time.Second; life > 6*time.Minute || r.NotAfterUnixMs != now.Add(certificateLife).UnixMilli() {
		t.Errorf("it lives for %s", life)
	}
	login := func(user string, certificate *ssh.Certificate) error {
		s, err := ssh.NewCertSigner(certificate, signer)
		if err != nil {
			t.Fatal(err)
		}
		client, err := ssh.Dial("tcp", server.Address(), &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
		})
		if err == nil {
			client.Close()
		}
		return err
	}
	if err := login(sshserver.User, certificate); err != nil {
		t.Errorf("the server does not take it: %v", err)
	}
	if err := login(sshserver.OtherUser, certificate); err == nil {
		t.Error("the server takes it for another user")
	}
	if !strings.Contains(server.Log(), "approval=access-1") {
		t.Error("the server's log does not name the approval")
	}
	b.Clock = clocktesting.NewFakeClock(now.Add(-time.Hour))
	r, err = b.certificate(c, nil, target, secret(), request(sshserver.User, signer.PublicKey()), now, "")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, _ = ssh.ParseAuthorizedKey(r.CertificatePem)
	if err := login(sshserver.User, key.(*ssh.Certificate)); err == nil {
		t.Error("the server takes it when its time is over")
	}
	t.Run("a lease that ends earlier ends it", func(t *testing.T) {
		b.Clock = clocktesting.NewFakeClock(now)
		r, err := b.certificate(c, nil, target, secret(), request("root", signer.PublicKey()), now.Add(time.Minute), "")
		if err != nil || r.NotAfterUnixMs != now.Add(time.Minute).UnixMilli() {
			t.Errorf("%v %v", r, err)
		}
	})
	for name, tc := range map[string]struct {
		change  func(*corev1.Secret, *controlpb.LeaseRequest)
		refusal string
	}{
		"not for a user that the policy does not list": {func(_ *corev1.Secret, r *controlpb.LeaseRequest) { r.SshUser = sshserver.OtherUser }, "lets nobody in"},
		"not without a user":                           {func(_ *corev1.Secret, r *controlpb.LeaseRequest) { r.SshUser = "" }, "lets nobody in"},
		"not for what is no key":                       {func(_ *corev1.Secret, r *controlpb.LeaseRequest) { r.SshPublicKey = []byte("x") }, "no Ed25519 key"},
		"not for a certificate":                        {func(_ *corev1.Secret, r *controlpb.LeaseRequest) { r.SshPublicKey = certificate.Marshal() }, "no Ed25519 key"},
		"not by a Secret of another type":              {func(s *corev1.Secret, _ *controlpb.LeaseRequest) { s.Type = corev1.SecretTypeBasicAuth }, "is of type"},
		"not by a Secret without a key":                {func(s *corev1.Secret, _ *controlpb.LeaseRequest) { s.Data = nil }, "has no key ssh-privatekey"},
		"not by what is no private key": {func(s *corev1.Secret, _ *controlpb.LeaseRequest) {
			s.Data[corev1.SSHAuthPrivateKey] = []byte("secret words")
		}, "no private key without a passphrase"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := secret(), request(sshserver.User, signer.PublicKey())
			tc.change(s, r)
			if _, err := b.certificate(c, nil, target, s, r, now.Add(time.Hour), ""); err == nil || !strings.Contains(err.Error(), tc.refusal) || strings.Contains(err.Error(), "secret words") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}
