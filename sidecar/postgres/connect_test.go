package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

func TestAgentSide(t *testing.T) {
	s := newSidecar(t, allowAll())
	ca, err := server.Put("pod.crt", s.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Address())

	libpq := map[string]string{
		"psql with sslmode=disable":                             "sslmode=disable",
		"psql with sslmode=prefer":                              "sslmode=prefer",
		"psql with sslmode=require":                             "sslmode=require",
		"psql with sslmode=verify-ca and the pod's authority":   "sslmode=verify-ca sslrootcert=" + ca,
		"psql with sslmode=verify-full and the pod's authority": "sslmode=verify-full sslrootcert=" + ca,
		"psql with a password that nobody asks for":             "password=wrong",
		"psql with client_encoding and application_name":        "client_encoding=UTF8 application_name=x",
		"psql with options that are allowed":                    "options='-c statement_timeout=5000 --geqo=off'",
	}
	for name, extra := range libpq {
		t.Run(name, func(t *testing.T) {
			cmd := server.Command("psql", "-XAtc", "SELECT 6*7", "host=localhost hostaddr=127.0.0.1 port="+port+" user=any dbname=app "+extra)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "42\n" {
				t.Fatalf("psql: %q, %v", out, err)
			}
		})
	}
	t.Run("psql with verify-full and another authority does not connect", func(t *testing.T) {
		other, err := server.Put("other.crt", server.Authority.PEM)
		if err != nil {
			t.Fatal(err)
		}
		out, err := server.Command("psql", "-XAtc", "SELECT 1", "host=localhost hostaddr=127.0.0.1 port="+port+" user=any dbname=app sslmode=verify-full sslrootcert="+other).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "certificate verify failed") {
			t.Fatalf("psql: %q, %v", out, err)
		}
	})
	t.Run("direct TLS with ALPN", func(t *testing.T) {
		conn, err := s.tryConnect("", func(c *pgconn.Config) {
			c.TLSConfig = clientTLS(s, alpn)
			c.SSLNegotiation = "direct"
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		rows(t, conn, "SELECT 1")
	})
	t.Run("direct TLS without ALPN is refused", func(t *testing.T) {
		conn, err := tls.Dial("tcp", s.Address(), clientTLS(s))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer, _ := io.ReadAll(conn)
		if !strings.Contains(string(answer), "08P01") {
			t.Fatalf("got %q", answer)
		}
	})
	t.Run("protocol 3.2 has long cancel keys, 3.0 short ones", func(t *testing.T) {
		for version, length := range map[string]int{"3.0": 4, "3.2": 32} {
			conn, err := s.tryConnect("", func(c *pgconn.Config) { c.MaxProtocolVersion = version })
			if err != nil {
				t.Fatal(err)
			}
			if got := len(conn.SecretKey()); got != length {
				t.Errorf("protocol %s: a key of %d bytes, want %d", version, got, length)
			}
			conn.Close(context.Background())
		}
	})
	t.Run("a newer minor version and unknown options are negotiated", func(t *testing.T) {
		answer := raw(t, s, startup(3<<16|9999, "user", "any", "database", "app", "_pq_.colour", "red"))
		if answer[0] != 'v' || binary.BigEndian.Uint32(answer[5:]) != 3<<16|2 || !strings.Contains(string(answer), "_pq_.colour") {
			t.Fatalf("got %q", answer)
		}
	})
	t.Run("GSSAPI encryption is declined and the session goes on", func(t *testing.T) {
		answer := raw(t, s, append(packetOf(1234<<16|5680), 0)[:8])
		if string(answer) != "N" {
			t.Fatalf("got %q", answer)
		}
	})
	refused := map[string]struct {
		packet []byte
		code   string
		words  string
	}{
		"protocol 2":                          {startup(2<<16, "user", "x"), "08P01", "unsupported frontend protocol 2.0"},
		"no user":                             {startup(3<<16, "database", "app"), "28000", "no PostgreSQL user name"},
		"replication":                         {startup(3<<16, "user", "x", "replication", "database"), "42501", "replication connections are refused"},
		"another encoding":                    {startup(3<<16, "user", "x", "client_encoding", "LATIN1"), "42501", "only UTF8"},
		"a role by startup parameter":         {startup(3<<16, "user", "x", "role", "postgres"), "42501", "role"},
		"a role by options":                   {startup(3<<16, "user", "x", "options", "-c role=postgres"), "42501", "role"},
		"options that are not settings":       {startup(3<<16, "user", "x", "options", "-p 99"), "42501", "-p"},
		"backslash-escaped option":            {startup(3<<16, "user", "x", "options", `-c standard_conforming\_strings=off`), "42501", "standard_conforming_strings"},
		"a length over the server's own":      {[]byte{0, 0, 0x30, 0, 0, 3, 0, 0}, "08P01", "invalid startup packet"},
		"a length that is negative":           {[]byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0}, "08P01", "invalid startup packet"},
		"a parameter without a value":         {append(packetOf(3<<16), "user\x00"...), "08P01", "invalid startup packet"},
		"plaintext behind the SSL request":    {append(packetOf(1234<<16|5679), startup(3<<16, "user", "x")...), "08P01", "unencrypted data"},
		"GSSAPI asked for again and again":    {append(packetOf(1234<<16|5680), packetOf(1234<<16|5680)...), "08P01", "GSSAPI"},
		"a cancel request with a giant key":   {append(packetOf(1234<<16|5678), make([]byte, 400)...), "08P01", "cancel key"},
		"a cancel request without its secret": {append(packetOf(1234<<16|5678), 0, 0, 0, 1), "08P01", "cancel key"},
	}
	for name, test := range refused {
		t.Run("refused: "+name, func(t *testing.T) {
			packet := test.packet
			if strings.Contains(name, "parameter without") || strings.Contains(name, "cancel request") {
				binary.BigEndian.PutUint32(packet, uint32(len(packet)))
			}
			answer := string(raw(t, s, packet))
			if !strings.Contains(answer, "C"+test.code) || !strings.Contains(answer, test.words) {
				t.Fatalf("got %q", answer)
			}
		})
	}
}

func clientTLS(s *sidecar, protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Authority.PEM)
	return &tls.Config{RootCAs: roots, ServerName: "db.test", NextProtos: protocols}
}

func packetOf(code uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, code)
}

func startup(version uint32, parameters ...string) []byte {
	p := packetOf(version)
	for _, s := range parameters {
		p = append(append(p, s...), 0)
	}
	p = append(p, 0)
	binary.BigEndian.PutUint32(p, uint32(len(p)))
	return p
}

// raw sends bytes and returns what comes back until the peer pauses or hangs up.
func raw(t *testing.T, s *sidecar, p []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(p); err != nil {
		t.Fatal(err)
	}
	return drain(conn)
}

// drain reads until the peer pauses or hangs up.
func drain(conn net.Conn) []byte {
	var out []byte
	buf := make([]byte, 4096)
	for {
		pause := 300 * time.Millisecond
		if len(out) == 0 {
			pause = 5 * time.Second
		}
		conn.SetReadDeadline(time.Now().Add(pause))
		n, err := conn.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil {
			return out
		}
	}
}

func TestUpstream(t *testing.T) {
	modes := map[string]struct {
		mode policy.TLSMode
		ca   []byte
		host string
		user string
		code string // empty: connects
		word string
	}{
		"VerifyFull with the right authority":                       {mode: policy.TLSVerifyFull, ca: server.Authority.PEM, user: "agent"},
		"VerifyCA with the right authority":                         {mode: policy.TLSVerifyCA, ca: server.Authority.PEM, user: "agent"},
		"VerifyCA with another name":                                {mode: policy.TLSVerifyCA, ca: server.Authority.PEM, host: "other.test", user: "agent"},
		"VerifyFull with another name":                              {mode: policy.TLSVerifyFull, ca: server.Authority.PEM, host: "other.test", user: "agent", code: "08001", word: "does not verify"},
		"VerifyFull with another authority":                         {mode: policy.TLSVerifyFull, ca: other(t).PEM, user: "agent", code: "08001", word: "does not verify"},
		"VerifyCA with another authority":                           {mode: policy.TLSVerifyCA, ca: other(t).PEM, user: "agent", code: "08001", word: "does not verify"},
		"VerifyFull with an authority that is none":                 {mode: policy.TLSVerifyFull, ca: []byte("rubbish"), user: "agent", code: "08001", word: "holds no certificate"},
		"Require with SCRAM":                                        {mode: policy.TLSRequire, user: "agent"},
		"Disable with SCRAM":                                        {mode: policy.TLSDisable, user: "agent"},
		"Require gives no password in clear":                        {mode: policy.TLSRequire, user: "auth_cleartext", code: "08001", word: "not proved"},
		"Require gives no MD5":                                      {mode: policy.TLSRequire, user: "auth_md5", code: "08001", word: "not proved"},
		"Disable gives no password in clear":                        {mode: policy.TLSDisable, user: "auth_cleartext", code: "08001", word: "not proved"},
		"VerifyFull gives a password in clear":                      {mode: policy.TLSVerifyFull, ca: server.Authority.PEM, user: "auth_cleartext"},
		"VerifyFull gives MD5":                                      {mode: policy.TLSVerifyFull, ca: server.Authority.PEM, user: "auth_md5"},
		"a server that asks for nothing, unverified":                {mode: policy.TLSDisable, user: "auth_trust"},
		"a wrong password names the policy's Secret":                {mode: policy.TLSRequire, user: "wrong", code: "28P01", word: "prod/billing-db"},
		"a role that needs a certificate, and there is none leased": {mode: policy.TLSRequire, user: "auth_certificate", code: "28000", word: "does not accept the credential"},
	}
	for name, test := range modes {
		t.Run(name, func(t *testing.T) {
			pg := allowAll()
			pg.TLSMode, pg.CAPEM = test.mode, test.ca
			s := newSidecar(t, pg)
			if test.host != "" {
				compiled, err := policy.Compile(policy.Set{Policies: []policy.Policy{{Namespace: "prod", Name: "billing", Targets: []policy.Target{
					{Name: "billing", Hosts: []string{test.host}, Port: 5432, Postgres: &pg}}}}})
				if err != nil {
					t.Fatal(err)
				}
				s.destination.Store(compiled.Lookup(test.host, 5432))
			}
			lease := &session.Lease{Username: test.user, Password: agentPassword}
			if test.user == "wrong" {
				lease = &session.Lease{Username: "agent", Password: "not-" + agentPassword}
			}
			s.lease.Store(lease)
			conn, err := s.tryConnect("dbname=postgres", nil)
			if test.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				rows(t, conn, "SELECT 1")
				conn.Close(context.Background())
				return
			}
			e := wantError(t, err, test.code, test.word)
			if strings.Contains(e.Message+e.Detail+e.Hint, agentPassword) {
				t.Fatalf("the password shows: %+v", e)
			}
			ends := s.log.Find(record.KindDisconnect, nil)
			if len(ends) != 1 || ends[0].Error == "" || strings.Contains(ends[0].Error, agentPassword) {
				t.Fatalf("recorded %+v", ends)
			}
		})
	}
	t.Run("a client certificate", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		cert, key, err := server.Authority.Issue(postgresserver.RoleCertificate)
		if err != nil {
			t.Fatal(err)
		}
		s.lease.Store(&session.Lease{Username: postgresserver.RoleCertificate, CertificatePEM: cert, KeyPEM: key})
		rows(t, s.connect(t, "dbname=postgres"), "SELECT 1")
	})
	t.Run("the server is down", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		s.dial("127.0.0.1:1")
		_, err := s.tryConnect("", nil)
		wantError(t, err, "08001", "billing", "connection refused")
	})
	t.Run("the server accepts and says nothing", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		s.set(func() { s.opts.ConnectTimeout = 300 * time.Millisecond })
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		s.dial(silent.Addr().String())
		_, err = s.tryConnect("", nil)
		wantError(t, err, "08001", "did not answer in time")
	})
	t.Run("no lease", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		s.set(func() { s.leaseErr = errors.New("Secret prod/billing-db has no key password") })
		_, err := s.tryConnect("", nil)
		wantError(t, err, "28000", "has no key password", "policy prod/billing, target billing")
	})
	t.Run("a database that does not exist", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		_, err := s.tryConnect("dbname=nowhere", nil)
		wantError(t, err, "3D000", "nowhere")
	})
	t.Run("policies that contradict each other", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		a, b := allowAll(), allowAll()
		b.CredentialsID = "prod/other"
		compiled, err := policy.Compile(policy.Set{Policies: []policy.Policy{
			{Namespace: "prod", Name: "a", Targets: []policy.Target{{Name: "x", Hosts: []string{"db.test"}, Port: 5432, Postgres: &a}}},
			{Namespace: "prod", Name: "b", Targets: []policy.Target{{Name: "y", Hosts: []string{"db.test"}, Port: 5432, Postgres: &b}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.destination.Store(compiled.Lookup("db.test", 5432))
		_, err = s.tryConnect("", nil)
		wantError(t, err, "42501", "different credentials")
	})
	t.Run("no policy", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		s.destination.Store(nil)
		_, err := s.tryConnect("", nil)
		wantError(t, err, "42501", "no policy has a target")
	})
	t.Run("more connections than the policy's limit", func(t *testing.T) {
		pg := allowAll()
		pg.Limits.MaxConnections = 2
		s := newSidecar(t, pg)
		first := s.connect(t, "")
		s.connect(t, "")
		_, err := s.tryConnect("", nil)
		wantError(t, err, "53300", "2 sessions")
		first.Close(context.Background())
		for range 50 {
			if _, err = s.tryConnect("", nil); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal(err)
	})
	t.Run("a session that cannot be recorded does not begin", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		s.log.Fails(errors.New("the spool is full"), nil)
		_, err := s.tryConnect("", nil)
		wantError(t, err, "58000", "the spool is full")
	})
}

func other(t *testing.T) *postgresserver.Authority {
	t.Helper()
	a, err := postgresserver.NewAuthority("another authority")
	if err != nil {
		t.Fatal(err)
	}
	return a
}
