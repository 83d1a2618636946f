// Package trust makes and keeps what a pod's agents trust the sidecar by: a certificate authority and an SSH host
// key of the pod's own, made once for the pod's life in a volume that only the sidecar mounts. Nothing of it is
// known outside the pod, so that nothing cluster-wide can impersonate a database.
package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	// The authority outlives every pod, because it cannot be renewed: agents read it once. A pod's clock may be
	// behind that of whoever verifies.
	authorityLife = 10 * 365 * 24 * time.Hour
	backdate      = time.Hour

	// authorityFile and hostKeysFile are in the state directory, PEM, readable by the sidecar alone.
	authorityFile = "ca.pem"
	hostKeysFile  = "ssh.pem"
)

// Authority signs what the sidecar shows agents.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	now         func() time.Time
}

// LoadAuthority reads the pod's authority from the state directory, or makes it there; pod names it for people
// who look at a certificate. What is there and cannot be read is an error: agents already trust the old one.
func LoadAuthority(state, pod string) (*Authority, error) {
	file := filepath.Join(state, authorityFile)
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if content, err = makeAuthority(pod, time.Now()); err != nil {
			return nil, fmt.Errorf("making the pod's certificate authority: %w", err)
		}
		err = keep(file, content)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the pod's certificate authority: %w", err)
	}
	a, err := parseAuthority(content)
	if err != nil {
		return nil, fmt.Errorf("reading the pod's certificate authority from %s: %w", file, err)
	}
	return a, nil
}

func makeAuthority(pod string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// A common name has at most 64 characters (RFC 5280 A.1, ub-common-name).
		Subject:   pkix.Name{Organization: []string{"Chaperone"}, CommonName: ("pod " + pod)[:min(64, len(pod)+4)]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

func parseAuthority(content []byte) (*Authority, error) {
	first, rest := pem.Decode(content)
	second, _ := pem.Decode(rest)
	if first == nil || second == nil {
		return nil, errors.New("it does not hold a certificate and a key")
	}
	certificate, err := x509.ParseCertificate(first.Bytes)
	if err != nil {
		return nil, err
	}
	secret, err := x509.ParsePKCS8PrivateKey(second.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := secret.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	return &Authority{certificate: certificate, key: key, now: time.Now}, nil
}

// PEM is the public certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// newSerial gives 126 random bits: positive and at most 20 bytes long (RFC 5280 4.1.2.2).
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
}

// keep makes the file appear whole or not at all.
func keep(file string, content []byte) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
