package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// announceBefore and promoteBefore order the root's own rotation: two years before its end the next root
	// joins the bundle, a year later it signs. A pod that was injected in between knows both, and no pod is
	// expected to run for a year without being made again.
	announceBefore = 2 * 365 * 24 * time.Hour
	promoteBefore  = 365 * 24 * time.Hour
	// backdate allows for clocks that are behind.
	backdate = time.Hour
)

// Keys of the root's Secret; the first two as kubernetes.io/tls has them.
const (
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
	keyBundle      = "ca.crt"
	keyNext        = "next.crt"
	keyNextPrivate = "next.key"
)

// pair is a root and its key.
type pair struct {
	cert    *x509.Certificate
	certPEM []byte
	key     *ecdsa.PrivateKey
	keyPEM  []byte
}

func newRoot(now time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the root's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The serial in the name keeps two roots apart where clients look issuers up by name.
		Subject:               pkix.Name{Organization: []string{"Chaperone"}, CommonName: "Chaperone operator root " + serial.Text(16)[:8]},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the root: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the root's key: %w", err)
	}
	return parsePair(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	)
}

func parsePair(certPEM, keyPEM []byte) (*pair, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	block, _ = pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("no PEM private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is a %T, not ECDSA", parsed)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the private key is not the certificate's")
	}
	return &pair{cert: cert, certPEM: certPEM, key: key, keyPEM: keyPEM}, nil
}

// rotate returns what the Secret should hold at now, and whether that differs from data. A nil data makes the first
// root.
func rotate(data map[string][]byte, now time.Time) (map[string][]byte, bool, error) {
	if len(data[keyCertificate]) == 0 {
		root, err := newRoot(now)
		if err != nil {
			return nil, false, err
		}
		return map[string][]byte{keyCertificate: root.certPEM, keyPrivate: root.keyPEM, keyBundle: root.certPEM}, true, nil
	}
	current, err := parsePair(data[keyCertificate], data[keyPrivate])
	if err != nil {
		return nil, false, fmt.Errorf("reading the root: %w", err)
	}
	out := map[string][]byte{}
	for k, v := range data {
		out[k] = v
	}
	changed := false
	if len(out[keyNext]) == 0 && now.After(current.cert.NotAfter.Add(-announceBefore)) {
		next, err := newRoot(now)
		if err != nil {
			return nil, false, err
		}
		out[keyNext], out[keyNextPrivate] = next.certPEM, next.keyPEM
		changed = true
	}
	if len(out[keyNext]) > 0 && now.After(current.cert.NotAfter.Add(-promoteBefore)) {
		out[keyCertificate], out[keyPrivate] = out[keyNext], out[keyNextPrivate]
		delete(out, keyNext)
		delete(out, keyNextPrivate)
		changed = true
	}
	bundle := bundle(now, out[keyCertificate], out[keyNext], data[keyBundle])
	if !bytes.Equal(bundle, data[keyBundle]) {
		out[keyBundle] = bundle
		changed = true
	}
	return out, changed, nil
}

// bundle joins certificates in order, each once, without those that have expired.
func bundle(now time.Time, parts ...[]byte) []byte {
	var out []byte
	for _, rest := range parts {
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil || now.After(cert.NotAfter) {
				continue
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
			if !bytes.Contains(out, text) {
				out = append(out, text...)
			}
		}
	}
	return out
}

func newSerial() (*big.Int, error) {
	// RFC 5280, 4.1.2.2: positive and at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return serial.Add(serial, new(big.Int).Lsh(big.NewInt(1), 126)), nil
}
