package sasl

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

const password = "in the pod, ~100%"

func certificate(t testing.TB, curve elliptic.Curve) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func verifier(t testing.TB) *Verifier {
	t.Helper()
	v, err := NewVerifier(password)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func initialResponse(mechanism, first string) []byte {
	return append(binary.BigEndian.AppendUint32(append([]byte(mechanism), 0), uint32(len(first))), first...)
}

// TestExchange has the library's own client answer; psql and pgx do in the tests of the session.
func TestExchange(t *testing.T) {
	v, shown, other := verifier(t), certificate(t, elliptic.P256()), certificate(t, elliptic.P256())
	long := certificate(t, elliptic.P384()) // is hashed by SHA-384
	bind := func(c *x509.Certificate) *scram.ChannelBinding {
		b, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}})
		if err != nil {
			t.Fatal(err)
		}
		return &b
	}
	for name, test := range map[string]struct {
		shown     *x509.Certificate
		mechanism string
		binds     *scram.ChannelBinding
		password  string
		want      error
	}{
		"the right password, in clear":            {nil, Plain, nil, password, nil},
		"the right password, not bound":           {shown, Plain, nil, password, nil},
		"bound":                                   {shown, Bound, bind(shown), password, nil},
		"bound to a certificate of another hash":  {long, Bound, bind(long), password, nil},
		"bound to another certificate":            {shown, Bound, bind(other), password, ErrBinding},
		"bound, with a wrong password":            {shown, Bound, bind(shown), "wrong", ErrPassword},
		"a wrong password":                        {nil, Plain, nil, "wrong", ErrPassword},
		"an empty password":                       {nil, Plain, nil, "", ErrPassword},
		"bound where there is nothing to bind to": {nil, Bound, bind(shown), password, ErrMechanism},
		"bound by the plain mechanism":            {shown, Plain, bind(shown), password, ErrMessage},
		"the bound mechanism, and not bound":      {shown, Bound, nil, password, ErrNegotiation},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := scram.SHA256.NewClientUnprepped("", test.password, "")
			if err != nil {
				t.Fatal(err)
			}
			theirs := client.NewConversation()
			if test.binds != nil {
				theirs = client.NewConversationWithChannelBinding(*test.binds)
			}
			err = run(v.Begin(test.shown), theirs, test.mechanism)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if test.want == nil && !theirs.Valid() {
				t.Fatal("the client does not take the proof")
			}
		})
	}
	t.Run("a client that was not shown that binding is offered", func(t *testing.T) {
		if _, err := v.Begin(shown).First(initialResponse(Plain, "y,,n=,r=abc")); !errors.Is(err, ErrNegotiation) {
			t.Fatalf("got %v", err)
		}
		if _, err := v.Begin(nil).First(initialResponse(Plain, "y,,n=,r=abc")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a certificate that the RFC has no hash for offers no binding", func(t *testing.T) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Begin(cert).Mechanisms(); len(got) != 1 || got[0] != Plain {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("final before first, and twice", func(t *testing.T) {
		e := v.Begin(nil)
		if _, err := e.Final([]byte("c=biws,r=abc,p=AAAA")); !errors.Is(err, ErrMessage) {
			t.Fatalf("got %v", err)
		}
		client, _ := scram.SHA256.NewClientUnprepped("", password, "")
		theirs := client.NewConversation()
		if err := run(e, theirs, Plain); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Final([]byte("c=biws,r=abc,p=AAAA")); !errors.Is(err, ErrMessage) {
			t.Fatalf("got %v", err)
		}
	})
}

func run(e *Exchange, theirs *scram.ClientConversation, mechanism string) error {
	said, err := theirs.Step("")
	if err != nil {
		return err
	}
	challenge, err := e.First(initialResponse(mechanism, said))
	if err != nil {
		return err
	}
	if said, err = theirs.Step(string(challenge)); err != nil {
		return err
	}
	proof, err := e.Final([]byte(said))
	if err != nil {
		return err
	}
	_, err = theirs.Step(string(proof))
	return err
}

func TestLength(t *testing.T) {
	for name, test := range map[string]struct {
		head [Head]byte
		want int
		ok   bool
	}{
		"nothing behind it":              {[Head]byte{'p', 0, 0, 0, 4}, 0, true},
		"the longest":                    {[Head]byte{'p', 0, 0, 4, 4}, MaxMessage, true},
		"a byte more":                    {[Head]byte{'p', 0, 0, 4, 5}, 0, false},
		"less than the length itself":    {[Head]byte{'p', 0, 0, 0, 3}, 0, false},
		"a negative length":              {[Head]byte{'p', 0xff, 0xff, 0xff, 0xff}, 0, false},
		"a message of another type":      {[Head]byte{'Q', 0, 0, 0, 8}, 0, false},
		"a length whose sign overflowed": {[Head]byte{'p', 0x80, 0, 0, 4}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Length(test.head)
			if got != test.want || (err == nil) != test.ok {
				t.Fatalf("got %d, %v", got, err)
			}
		})
	}
}

// FuzzExchange wants nobody let in who does not have the password, whatever is said.
func FuzzExchange(f *testing.F) {
	v, shown := verifier(f), certificate(f, elliptic.P256())
	f.Add(initialResponse(Plain, "n,,n=,r=abc"), []byte("c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), true)
	f.Add(initialResponse(Plain, "n,a=x,n=y=2C,r=abc"), []byte("c=,r=,p="), false)
	f.Add(initialResponse(Bound, "p=tls-server-end-point,,n=,r=abc"), []byte("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAA==,r=abc,p=AAAA"), true)
	f.Add(initialResponse(Bound, "p=tls-unique,,m=,n=,r="), []byte("c=biws,r=abc"), true)
	f.Add([]byte(Plain+"\x00\xff\xff\xff\xff"), []byte{}, false)
	f.Fuzz(func(t *testing.T, first, final []byte, encrypted bool) {
		if len(first) > MaxMessage || len(final) > MaxMessage {
			return
		}
		var cert *x509.Certificate
		if encrypted {
			cert = shown
		}
		e := v.Begin(cert)
		challenge, err := e.First(first)
		if err == nil {
			// The client's part of the nonce comes back, and more behind it.
			_, said, _ := initial(first)
			if i := strings.Index(said, "r="); i < 0 || !strings.HasPrefix(string(challenge), "r=") || len(challenge) < 40 {
				t.Fatalf("challenged %q by %q", said, challenge)
			}
		}
		if _, err := e.Final(final); err == nil {
			t.Fatalf("let in by %q and %q", first, final)
		}
		// With the challenge's own nonce the rest of it is reached.
		if strings.Contains(string(challenge), ",") {
			e = v.Begin(cert)
			if challenge, err = e.First(first); err != nil {
				t.Fatal(err)
			}
			nonce, _, _ := strings.Cut(string(challenge), ",")
			header, _, _ := strings.Cut(string(final), ",")
			if _, err := e.Final([]byte(header + "," + nonce + ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")); err == nil {
				t.Fatalf("let in by %q and %q", first, header)
			}
		}
	})
}
