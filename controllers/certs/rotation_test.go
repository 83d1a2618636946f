package certs

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

func trusts(t *testing.T, bundle []byte, leaf *tls.Certificate, at time.Time) bool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle holds no certificate")
	}
	_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: at, DNSName: "chaperone-broker.chaperone-system.svc"})
	return err == nil
}

func leafOf(t *testing.T, data map[string][]byte, at time.Time) *tls.Certificate {
	t.Helper()
	root, err := parsePair(data[keyCertificate], data[keyPrivate])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(root, ServiceNames("chaperone-system", "chaperone-broker"), at)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func mustRotate(t *testing.T, data map[string][]byte, at time.Time) (map[string][]byte, bool) {
	t.Helper()
	out, changed, err := rotate(data, at)
	if err != nil {
		t.Fatal(err)
	}
	return out, changed
}

func TestRootRotatesWithAnOverlap(t *testing.T) {
	first, changed := mustRotate(t, nil, begin)
	if !changed {
		t.Fatal("no root was made")
	}
	if again, changed := mustRotate(t, first, begin.Add(7*year)); changed {
		t.Fatalf("a root in its youth was changed: %v", again)
	}
	announced, changed := mustRotate(t, first, begin.Add(8*year+time.Hour))
	if !changed || len(announced[keyNext]) == 0 {
		t.Fatal("two years before the end no next root was announced")
	}
	if string(announced[keyCertificate]) != string(first[keyCertificate]) {
		t.Error("the next root signs before those who were given the old bundle can know it")
	}
	at := begin.Add(9*year + time.Hour)
	promoted, changed := mustRotate(t, announced, at)
	if !changed || string(promoted[keyCertificate]) != string(announced[keyNext]) || len(promoted[keyNext]) != 0 {
		t.Fatal("a year before the end the next root does not sign")
	}
	leaf := leafOf(t, promoted, at)
	if !trusts(t, announced[keyBundle], leaf, at) {
		t.Error("a pod injected during the announcement does not trust the promoted root")
	}
	if trusts(t, first[keyBundle], leaf, at) {
		t.Error("the old root vouches for the new one's leaf")
	}
	if !trusts(t, promoted[keyBundle], leafOf(t, first, at), at) {
		t.Error("a leaf of the old root, still served by a replica that has not read the Secret again, is not trusted")
	}
	last, changed := mustRotate(t, promoted, begin.Add(10*year+time.Hour))
	if !changed || trusts(t, last[keyBundle], leafOf(t, first, begin.Add(9*year)), begin.Add(9*year)) {
		t.Error("the expired root is still in the bundle")
	}
}

func TestRotateRefusesWhatItCannotRead(t *testing.T) {
	good, _ := mustRotate(t, nil, begin)
	other, _ := mustRotate(t, nil, begin)
	for name, data := range map[string]map[string][]byte{
		"no key":                    {keyCertificate: good[keyCertificate]},
		"another certificate's key": {keyCertificate: good[keyCertificate], keyPrivate: other[keyPrivate]},
		"text":                      {keyCertificate: []byte("hello"), keyPrivate: good[keyPrivate]},
	} {
		t.Run(name, func(t *testing.T) {
			if out, _, err := rotate(data, begin); err == nil {
				t.Errorf("got %v", out)
			}
		})
	}
}

func TestLeafServesTLSAndNeverOutlivesItsRoot(t *testing.T) {
	now := time.Now()
	data, _ := mustRotate(t, nil, now)
	leaf := leafOf(t, data, now)
	if !trusts(t, data[keyBundle], leaf, now) {
		t.Fatal("not trusted")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data[keyBundle])
	server, client := net.Pipe()
	go func() { _ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*leaf}}).Handshake() }()
	conn := tls.Client(client, &tls.Config{RootCAs: pool, ServerName: "chaperone-broker.chaperone-system.svc"})
	if err := conn.Handshake(); err != nil {
		t.Errorf("handshake: %v", err)
	}
	late := leafOf(t, data, now.Add(rootLifetime-24*time.Hour))
	root, _ := parsePair(data[keyCertificate], data[keyPrivate])
	if late.Leaf.NotAfter.After(root.cert.NotAfter) {
		t.Errorf("the leaf ends %s, its root %s", late.Leaf.NotAfter, root.cert.NotAfter)
	}
}

func TestFilesKeepsTheLastGoodPair(t *testing.T) {
	dir := t.TempDir()
	write := func(data map[string][]byte) {
		for name, text := range data {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, _ := mustRotate(t, nil, time.Now())
	write(first)
	changes := 0
	f := &Files{Directory: dir, Log: logr.Discard(), Changed: func() { changes++ }}
	if _, err := f.GetCertificate(nil); err == nil {
		t.Fatal("served before it was loaded")
	}
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	second, _ := mustRotate(t, nil, time.Now())
	write(map[string][]byte{keyCertificate: second[keyCertificate]})
	if err := f.Load(); err == nil {
		t.Fatal("a certificate that is not its key's was taken up")
	}
	got, err := f.GetCertificate(nil)
	if err != nil || !got.Leaf.Equal(mustParse(t, first).cert) {
		t.Errorf("the good pair is gone: %v", err)
	}
	write(second)
	if err := f.Load(); err != nil {
		t.Fatal(err)
	}
	got, _ = f.GetCertificate(nil)
	if !got.Leaf.Equal(mustParse(t, second).cert) || string(f.Roots()) != string(second[keyBundle]) || changes != 2 {
		t.Errorf("the replaced files were not taken up (%d changes)", changes)
	}
}

func mustParse(t *testing.T, data map[string][]byte) *pair {
	t.Helper()
	p, err := parsePair(data[keyCertificate], data[keyPrivate])
	if err != nil {
		t.Fatal(err)
	}
	return p
}
