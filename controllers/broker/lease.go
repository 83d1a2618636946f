package broker

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/controllers/reference"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

const (
	maxName      = 512
	leaseTimeout = 10 * time.Second
)

// Lease implements the control stream: the credential of one target, read from its Secret at every call, so that a
// rotated password takes effect on the next connection.
func (b *Broker) Lease(ctx context.Context, req *controlpb.LeaseRequest) (*controlpb.LeaseResponse, error) {
	c := callerOf(ctx)
	if !c.leases.Allow() {
		return nil, status.Error(codes.ResourceExhausted, "too many connections at once; try again in a second")
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	ap, target, err := b.target(ctx, c, req.GetPolicy(), req.GetTarget())
	if err != nil {
		return nil, err
	}
	// A target that is broken would be reached unverified; its credential stays here.
	if _, err := b.Sets.Convert(ctx, ap); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "policy %s is not ready: %v", req.GetPolicy(), err)
	}
	secret := secretOf(target)
	if secret == "" {
		return nil, status.Errorf(codes.FailedPrecondition, "target %s of policy %s has no credential to lease", target.Name, req.GetPolicy())
	}
	notAfter, granted := b.Clock.Now().Add(b.LeaseDuration), ""
	if guardsSessions(ap, target) {
		var until time.Time
		until, granted, err = b.standing(ctx, c, ap, target)
		if err != nil {
			return nil, err
		}
		if until.Before(notAfter) {
			notAfter = until
		}
	}
	found, err := reference.Secret(ctx, b.Live, ap.Namespace, secret)
	if errors.Is(err, reference.ErrUnavailable) {
		b.Log.Error(err, "reading a credential", "pod", c.Name(), "target", target.Name)
		return nil, status.Errorf(codes.Unavailable, "the credential of target %s could not be read; try again", target.Name)
	}
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the credential of target %s: %v", target.Name, err)
	}
	if isAuthority(target) {
		out, err := b.certificate(c, ap, target, found, req, notAfter, granted)
		if err != nil {
			return nil, err
		}
		b.Log.V(1).Info("signed a certificate", "pod", c.Name(), "policy", ap.Name, "target", target.Name)
		return out, nil
	}
	read := credential
	if target.Kubernetes != nil {
		read = kubeconfig
	}
	out, err := read(found)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the credential of target %s: secret %s/%s %v", target.Name, ap.Namespace, secret, err)
	}
	out.NotAfterUnixMs = notAfter.UnixMilli()
	b.Log.V(1).Info("leased a credential", "pod", c.Name(), "policy", ap.Name, "target", target.Name)
	return out, nil
}

// target finds a target among the policies that are for the caller's pod.
func (b *Broker) target(ctx context.Context, c *caller, policy, name string) (*v1alpha1.AgentPolicy, *v1alpha1.Target, error) {
	if len(policy) > maxName || len(name) > maxName {
		return nil, nil, status.Error(codes.InvalidArgument, "the name of a policy or target is too long")
	}
	bound, err := b.Sets.For(ctx, c.pod)
	if err != nil {
		b.Log.Error(err, "making a pod's policy set", "pod", c.Name())
		return nil, nil, status.Error(codes.Unavailable, "the policies could not be read; try again")
	}
	ap, _ := bound.Policy(policy)
	if ap == nil {
		return nil, nil, status.Errorf(codes.NotFound, "no policy %s is for this pod", naming.Escape(policy, maxName))
	}
	for i := range ap.Spec.Targets {
		if ap.Spec.Targets[i].Name == name {
			return ap, &ap.Spec.Targets[i], nil
		}
	}
	return nil, nil, status.Errorf(codes.NotFound, "policy %s has no target %s", naming.Escape(policy, maxName), naming.Escape(name, maxName))
}

// secretOf names the Secret that a target's credential is in, "" if it has none.
func secretOf(t *v1alpha1.Target) string {
	switch {
	case t.Postgres != nil && t.Postgres.Credentials != nil:
		return t.Postgres.Credentials.SecretRef.Name
	case t.SSH != nil && t.SSH.Credentials != nil && t.SSH.Credentials.SecretRef != nil:
		return t.SSH.Credentials.SecretRef.Name
	case t.Kubernetes != nil && t.Kubernetes.Credentials != nil:
		return t.Kubernetes.Credentials.SecretRef.Name
	case isAuthority(t):
		return t.SSH.Credentials.CertificateAuthorityRef.Name
	}
	return ""
}

// CheckCredential says what is wrong with the Secret of a reference, without looking at its values.
func CheckCredential(ref snapshot.Reference, s *corev1.Secret) error {
	if strings.HasSuffix(string(ref.Field), ".ssh.credentials.certificateAuthorityRef") {
		if _, err := authority(s); err != nil {
			return fmt.Errorf("secret %s/%s %w", s.Namespace, s.Name, err)
		}
		return nil
	}
	if strings.HasSuffix(string(ref.Field), ".kubernetes.credentials.secretRef") {
		if _, err := kubeconfig(s); err != nil {
			return fmt.Errorf("secret %s/%s %w", s.Namespace, s.Name, err)
		}
		return nil
	}
	if !strings.Contains(string(ref.Field), ".postgres.") && !strings.HasSuffix(string(ref.Field), ".ssh.credentials.secretRef") {
		return nil
	}
	if _, err := credential(s); err != nil {
		return fmt.Errorf("secret %s/%s %w", s.Namespace, s.Name, err)
	}
	return nil
}

// credential reads a Secret by its type. The error says what is wrong with it and goes on after its name.
func credential(s *corev1.Secret) (*controlpb.LeaseResponse, error) {
	user := string(s.Data[corev1.BasicAuthUsernameKey])
	switch s.Type {
	case corev1.SecretTypeBasicAuth:
		if user == "" {
			return nil, fmt.Errorf("has no key %s", corev1.BasicAuthUsernameKey)
		}
		if len(s.Data[corev1.BasicAuthPasswordKey]) == 0 {
			return nil, fmt.Errorf("has no key %s", corev1.BasicAuthPasswordKey)
		}
		return &controlpb.LeaseResponse{Username: user, Password: string(s.Data[corev1.BasicAuthPasswordKey])}, nil
	case corev1.SecretTypeTLS:
		cert, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
		if len(cert) == 0 || len(key) == 0 {
			return nil, fmt.Errorf("needs the keys %s and %s", corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
		}
		if user == "" {
			// PostgreSQL's cert authentication compares the common name with the user.
			var err error
			if user, err = commonName(cert); err != nil {
				return nil, fmt.Errorf("has no key %s, and %w", corev1.BasicAuthUsernameKey, err)
			}
		}
		return &controlpb.LeaseResponse{Username: user, CertificatePem: cert, KeyPem: key}, nil
	case corev1.SecretTypeSSHAuth:
		key := s.Data[corev1.SSHAuthPrivateKey]
		if len(key) == 0 {
			return nil, fmt.Errorf("has no key %s", corev1.SSHAuthPrivateKey)
		}
		return &controlpb.LeaseResponse{Username: user, KeyPem: key}, nil
	}
	return nil, fmt.Errorf("is of type %s; credentials are of type %s, %s or %s", s.Type, corev1.SecretTypeBasicAuth, corev1.SecretTypeTLS, corev1.SecretTypeSSHAuth)
}

func commonName(certPEM []byte) (string, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return "", fmt.Errorf("%s is no PEM certificate", corev1.TLSCertKey)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	if cert.Subject.CommonName == "" {
		return "", fmt.Errorf("the certificate in %s has no common name", corev1.TLSCertKey)
	}
	return cert.Subject.CommonName, nil
}
