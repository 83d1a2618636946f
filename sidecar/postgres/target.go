package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// target is what is needed to reach and to name a destination.
type target struct {
	*policy.Destination
	settings *policy.PostgresSettings
	host     string
	tls      *tls.Config
}

// newTarget takes the destination's settings together. The host, by which the server's certificate is verified,
// is the policy's name for it.
func newTarget(d *policy.Destination, asked string) (*target, error) {
	t := &target{Destination: d, settings: d.Postgres()}
	if hosts := d.Hosts(); len(hosts) > 0 {
		t.host = hosts[0]
		for _, h := range hosts {
			if strings.EqualFold(h, strings.TrimSuffix(asked, ".")) {
				t.host = h
			}
		}
	}
	mode := t.settings.TLSMode
	if mode == policy.TLSDisable {
		return t, nil
	}
	t.tls = &tls.Config{ServerName: t.host, MinVersion: tls.VersionTLS12}
	if mode == policy.TLSRequire {
		t.tls.InsecureSkipVerify = true // what Require means; secrets are guarded by requireAuth
		return t, nil
	}
	if len(t.settings.CAPEM) > 0 {
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(t.settings.CAPEM) {
			return nil, refuse("08001", fmt.Sprintf("the certificate authority of target %s (postgres.tls.caFrom) holds no certificate", d.Name()), "")
		}
	}
	if mode == policy.TLSVerifyCA {
		t.tls.InsecureSkipVerify = true // verifyChain verifies the chain; the name is not verified
		t.tls.VerifyConnection = t.verifyChain
	}
	return t, nil
}

func (t *target) verifyChain(state tls.ConnectionState) error {
	opts := x509.VerifyOptions{Roots: t.tls.RootCAs, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// verified tells whether the server's identity is proved before a secret is sent.
func (t *target) verified() bool {
	return t.settings.TLSMode == policy.TLSVerifyCA || t.settings.TLSMode == policy.TLSVerifyFull
}

// requireAuth is what an unverified server may ask for: SCRAM proves that both sides know the password without
// showing it. A password in clear, or an MD5 of it, would be a gift.
const requireAuth = "scram-sha-256,none"

// lease fills in the policy's credential.
func (t *target) lease(ctx context.Context, s *session.Session, config *pgconn.Config) error {
	ref := t.settings.Lease
	lease, err := s.Credentials.Lease(ctx, ref.Policy, ref.Target)
	if err != nil {
		return &Refusal{Code: "28000", Message: fmt.Sprintf("no credential for target %s: %v", ref.Target, err),
			Detail: "policy " + ref.Policy + ", target " + ref.Target, cause: err}
	}
	if lease.Username != "" {
		config.User = lease.Username
	}
	config.Password = lease.Password
	if len(lease.CertificatePEM) > 0 {
		if config.TLSConfig == nil {
			return refuse("28000", fmt.Sprintf("the credential of target %s is a client certificate, and the policy's TLS mode is Disable", ref.Target), "")
		}
		pair, err := tls.X509KeyPair(lease.CertificatePEM, lease.KeyPEM)
		if err != nil {
			return &Refusal{Code: "28000", Message: fmt.Sprintf("the client certificate of target %s cannot be read", ref.Target),
				Detail: "policy " + ref.Policy + ", target " + ref.Target, Hint: "Whoever owns the policy has to correct its Secret.", cause: err}
		}
		config.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// explain puts a failed connection in words that an agent may read.
func (t *target) explain(err error, user string) error {
	where := fmt.Sprintf("target %s (%s port %d)", t.Name(), t.host, t.Port())
	var (
		server      *pgconn.PgError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
	)
	switch {
	case errors.As(err, &server):
		r := &Refusal{Code: server.Code, Message: server.Message, cause: err}
		if class := server.Code[:min(2, len(server.Code))]; class == "28" && t.settings.HasLease {
			ref := t.settings.Lease
			r.Message = fmt.Sprintf("%s does not accept the credential that the policy gives: %s", where, server.Message)
			r.Detail = fmt.Sprintf("policy %s, target %s, user %q%s", ref.Policy, ref.Target, user, t.secret())
			r.Hint = "Whoever owns the policy has to correct its Secret; the next connection uses it."
		} else if class == "28" {
			r.Detail = "The policy gives no credential for " + where + ", so the server has to accept the user without a password."
		}
		return r
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname):
		return &Refusal{Code: "08001", Message: fmt.Sprintf("the certificate of %s does not verify: %s", where, root(err)),
			Detail: fmt.Sprintf("The policy's TLS mode is %s; nothing was sent.", t.settings.TLSMode),
			Hint:   "Whoever owns the policy has to name the right authority (postgres.tls.caFrom) or host.", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Code: "08001", Message: where + " did not answer in time", cause: err}
	}
	r := &Refusal{Code: "08001", Message: fmt.Sprintf("could not connect to %s: %s", where, root(err)), cause: err}
	if !t.verified() {
		r.Hint = fmt.Sprintf("The policy's TLS mode is %s, so the server's identity is not proved and it gets no password in clear or as MD5.", t.settings.TLSMode)
	}
	return r
}

// secret names where the credential comes from, where the policy says.
func (t *target) secret() string {
	for _, ref := range t.Targets() {
		if pg := ref.Target.Postgres; pg != nil && pg.CredentialsID != "" && ref.Policy == t.settings.Lease.Policy {
			return ", Secret " + pg.CredentialsID
		}
	}
	return ""
}

// root is the innermost error's text: those around it name hosts and users that mean nothing to an agent.
func root(err error) string {
	for {
		switch e := err.(type) { //nolint:errorlint // this walks down what is wrapped
		case interface{ Unwrap() error }:
			inner := e.Unwrap()
			if inner == nil {
				return err.Error()
			}
			err = inner
		case interface{ Unwrap() []error }:
			inner := e.Unwrap()
			if len(inner) == 0 {
				return err.Error()
			}
			err = inner[len(inner)-1]
		default:
			return err.Error()
		}
	}
}
