// Package certs keeps the operator's own certificates and keys: a long-lived root in a Secret, from which every
// replica makes short-lived serving certificates in memory, or certificates that somebody else puts into files; and
// the keys by which decisions and recordings are authenticated.
//
// The root signs serving certificates for the operator's Services and nothing else. No pod's sidecar trusts it for
// a database, and it cannot impersonate one.
package certs

import "crypto/tls"

// Source is where the operator's servers have their certificate from.
type Source interface {
	// GetCertificate is for tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Roots is the PEM bundle that clients verify the certificate with: webhook configurations, the APIService and
	// every injected pod carry it. During a rotation it holds the old root and the new one.
	Roots() []byte
}
