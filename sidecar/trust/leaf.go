package trust

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// leafLife is short of what strict clients take (398 days) and is renewed at half.
	leafLife = 7 * 24 * time.Hour
	// maxLeaves bounds the cache, some 2 KiB each; an agent that sends ever new SNIs pays with time alone.
	maxLeaves = 64
	// maxName is the longest DNS name (RFC 1035 2.3.4), maxNames how many a certificate carries.
	maxName  = 253
	maxNames = 64
)

// Leaves mints certificates and keeps the latest. It is safe for concurrent use.
type Leaves struct {
	authority *Authority
	// key is every leaf's: they differ in names alone, and their owner is one.
	key *ecdsa.PrivateKey

	mu     sync.Mutex // guards what follows, and lets one leaf be minted at a time
	recent list.List  // of leaf, the latest first
	byName map[string]*list.Element
}

type leaf struct {
	names       string
	certificate *tls.Certificate
	renew       time.Time
}

// NewLeaves gives an empty cache with a key of its own.
func NewLeaves(a *Authority) (*Leaves, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for certificates: %w", err)
	}
	return &Leaves{authority: a, key: key, byName: make(map[string]*list.Element)}, nil
}

// For gives the certificate for a client that sent this SNI, or none (empty): then the names are the target's
// hosts and the address that was dialled.
func (l *Leaves) For(sni string, hosts []string, address netip.Addr) (*tls.Certificate, error) {
	var names []string
	if sni != "" {
		// What a client says is put into a certificate only if it is a name.
		if !validName(sni) {
			return nil, errors.New("the server name sent is not a host name")
		}
		names = []string{strings.ToLower(sni)}
	} else {
		names = append(names, hosts[:min(len(hosts), maxNames)]...)
		if address.IsValid() {
			names = append(names, address.Unmap().WithZone("").String())
		}
	}
	if len(names) == 0 {
		return nil, errors.New("there is no name to make a certificate for")
	}
	return l.leaf(names)
}

func (l *Leaves) leaf(names []string) (*tls.Certificate, error) {
	id := strings.Join(names, " ")
	now := l.authority.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byName[id]; e != nil {
		if kept := e.Value.(leaf); now.Before(kept.renew) {
			l.recent.MoveToFront(e)
			return kept.certificate, nil
		}
		l.forget(e)
	}
	certificate, err := l.mint(names, now)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %s: %w", id, err)
	}
	for l.recent.Len() >= maxLeaves {
		l.forget(l.recent.Back())
	}
	l.byName[id] = l.recent.PushFront(leaf{id, certificate, now.Add(leafLife / 2)})
	return certificate, nil
}

func (l *Leaves) forget(e *list.Element) {
	delete(l.byName, l.recent.Remove(e).(leaf).names)
}

func (l *Leaves) mint(names []string, now time.Time) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// Clients read names from the extension alone (RFC 6125); the subject is for people.
		Subject:   pkix.Name{Organization: []string{"Chaperone"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if a, err := netip.ParseAddr(n); err == nil {
			template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
		} else if !slices.Contains(template.DNSNames, n) {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, l.authority.certificate, l.key.Public(), l.authority.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// The root goes along for clients that compare the chain's end with a file (sslmode=verify-ca of old libpq).
	return &tls.Certificate{Certificate: [][]byte{der, l.authority.certificate.Raw}, PrivateKey: l.key, Leaf: parsed}, nil
}

// validName takes what DNS and clients take for a host: letters, digits, hyphens and underscores in labels.
func validName(s string) bool {
	if len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}
