package postgres

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sasl"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// placeholder is what agents are asked for; the server does not know it.
const placeholder = "in the pod, ~100%"

func asking() policy.Postgres {
	pg := allowAll()
	pg.AgentPassword = placeholder
	return pg
}

func TestAgentPassword(t *testing.T) {
	s := newSidecar(t, asking())
	root, err := server.Put("asking.crt", s.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Address())
	at := "host=127.0.0.1 port=" + port + " user=whoever dbname=app"
	right := " password='" + placeholder + "'"
	bound := " sslmode=verify-full channel_binding=require sslrootcert=" + root
	tests := map[string]struct {
		settings string
		code     string // of what both read, empty where they connect; "client" where they give up themselves
		words    string
	}{
		"channel_binding=require binds": {settings: right + bound},
		"channel_binding=prefer binds":  {settings: right + " sslmode=require channel_binding=prefer"},
		"channel_binding=disable":       {settings: right + " sslmode=require channel_binding=disable"},
		"in clear":                      {settings: right + " sslmode=disable"},
		"channel_binding=require in clear, where nothing is bound": {settings: right + " sslmode=disable channel_binding=require", code: "client", words: "channel binding"},
		"a wrong password":            {settings: " password=wrong" + bound, code: "28P01", words: "agentPassword"},
		"a wrong password in clear":   {settings: " password=wrong sslmode=disable", code: "28P01", words: `user "whoever"`},
		"the database's own password": {settings: " password=" + agentPassword + bound, code: "28P01", words: "not the database's"},
		"an empty password":           {settings: bound, code: "client", words: "password"},
	}
	for name, test := range tests {
		t.Run("psql, "+name, func(t *testing.T) {
			out, err := server.Command("psql", "-wXAt", "-c", "SELECT current_user", "-d", at+test.settings).CombinedOutput()
			said := string(out)
			switch {
			case test.code == "":
				if err != nil || said != "agent\n" {
					t.Fatalf("%q, %v", said, err)
				}
			case err == nil || !strings.Contains(said, test.words):
				t.Fatalf("%q, %v", said, err)
			}
		})
		t.Run("pgx, "+name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			conn, err := pgconn.Connect(ctx, at+test.settings)
			switch {
			case test.code == "":
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(ctx)
				if got := rows(t, conn, "SELECT current_user"); got[0][0] != "agent" {
					t.Fatalf("got %v", got)
				}
			case test.code != "client":
				wantError(t, err, test.code, test.words)
			case name == "an empty password": // pgx sends it
				wantError(t, err, "28P01")
			case err == nil || !strings.Contains(err.Error(), test.words):
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("pgx with direct TLS binds", func(t *testing.T) {
		if got := byPgx(t, at+right+bound+" sslnegotiation=direct"); got != encrypted {
			t.Fatalf("got %s", got)
		}
	})
	t.Run("lib/pq, which binds nothing, connects by the plain mechanism", func(t *testing.T) {
		if got := byPQ(t, at+right+" sslmode=verify-full sslrootcert="+root); got != encrypted {
			t.Fatalf("got %s", got)
		}
	})
	t.Run("what was refused is recorded, without the password", func(t *testing.T) {
		ends := s.log.Find(record.KindDisconnect, func(e record.Event) bool { return strings.Contains(e.Error, "password authentication failed") })
		if len(ends) == 0 || strings.Contains(fmt.Sprint(ends), placeholder) {
			t.Fatalf("recorded %+v", ends)
		}
	})
	t.Run("no session is resumed, which would show no certificate to bind to", func(t *testing.T) {
		cache := &tickets{}
		for range 2 {
			conn, err := s.tryConnect(right, func(c *pgconn.Config) {
				c.TLSConfig = clientTLS(s)
				c.TLSConfig.ClientSessionCache = cache
			})
			if err != nil {
				t.Fatal(err)
			}
			rows(t, conn, "SELECT 1")
			conn.Close(context.Background())
		}
		if cache.given() {
			t.Fatal("a ticket was given")
		}
	})
}

// tickets is a client's cache that notes whether it was given any.
type tickets struct {
	mu  sync.Mutex // guards any: TLS reads a ticket where the test reads rows
	any bool
}

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (c *tickets) Put(_ string, state *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.any = c.any || state != nil
}

func (c *tickets) given() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.any
}

func TestAgentPasswordOfPolicies(t *testing.T) {
	without := "channel_binding=require"
	t.Run("without one nothing is asked, and what has to be bound is not connected", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		out, err := server.Command("psql", "-wXAtc", "SELECT 1", "-d", s.dsn("sslmode=require password=x "+without)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "channel binding required") {
			t.Fatalf("%q, %v", out, err)
		}
		rows(t, s.connect(t, "password=anything"), "SELECT 1")
	})
	t.Run("Audit: asked for all the same, and a wrong one does not connect", func(t *testing.T) {
		s := newSidecar(t, asking(), func(p *policy.Policy) { p.Enforcement = policy.Audit })
		rows(t, s.connect(t, "sslmode=require "+without+" password='"+placeholder+"'"), "SELECT 1")
		_, err := s.tryConnect("password=wrong", nil)
		wantError(t, err, "28P01")
	})
	t.Run("policies that ask for different ones", func(t *testing.T) {
		s := newSidecar(t, asking())
		a, b := asking(), asking()
		b.AgentPassword = "another"
		compiled, err := policy.Compile(policy.Set{Policies: []policy.Policy{
			{Namespace: "prod", Name: "a", Targets: []policy.Target{{Name: "x", Hosts: []string{"db.test"}, Port: 5432, Postgres: &a}}},
			{Namespace: "prod", Name: "b", Targets: []policy.Target{{Name: "y", Hosts: []string{"db.test"}, Port: 5432, Postgres: &b}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.destination.Store(compiled.Lookup("db.test", 5432))
		_, err = s.tryConnect("password='"+placeholder+"'", nil)
		wantError(t, err, "42501", "different passwords")
	})
	t.Run("a password that changes is asked for at the next connection", func(t *testing.T) {
		s := newSidecar(t, asking())
		first := s.connect(t, "password='"+placeholder+"'")
		pg := asking()
		pg.AgentPassword = "another"
		s.destination.Store(destination(t, pg))
		rows(t, first, "SELECT 1")
		_, err := s.tryConnect("password='"+placeholder+"'", nil)
		wantError(t, err, "28P01")
		rows(t, s.connect(t, "password=another"), "SELECT 1")
	})
	t.Run("people are asked for access after the password", func(t *testing.T) {
		s := newSidecar(t, asking(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, WaitSeconds: 60}}
		})
		_, err := s.tryConnect("password=wrong", nil)
		wantError(t, err, "28P01")
		if n := s.desk.Count(); n != 0 {
			t.Fatalf("%d requests", n)
		}
		got := make(chan error, 1)
		go func() {
			conn, err := s.tryConnect("password='"+placeholder+"'", nil)
			if err == nil {
				err = conn.Close(context.Background())
			}
			got <- err
		}()
		s.desk.Next(t, 1)
		s.desk.Decide(1, "Approved", "")
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("protocol 3.2 is negotiated before the password is asked for", func(t *testing.T) {
		s := newSidecar(t, asking())
		answer := raw(t, s, startup(3<<16|9999, "user", "any", "database", "app"))
		if answer[0] != 'v' || binary.BigEndian.Uint32(answer[5:]) != 3<<16|2 || !strings.Contains(string(answer), "SCRAM-SHA-256\x00\x00") {
			t.Fatalf("got %q", answer)
		}
		conn, err := s.tryConnect("password='"+placeholder+"'", func(c *pgconn.Config) { c.MaxProtocolVersion = "3.2" })
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		rows(t, conn, "SELECT 1")
	})
}

// TestTLSTerminator puts something that ends TLS between client and sidecar, with a certificate that the client trusts:
// another one of the pod's authority.
func TestTLSTerminator(t *testing.T) {
	s := newSidecar(t, asking())
	root, err := server.Put("between.crt", s.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := s.Authority.Issue("between", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		encrypts  bool   // toward the sidecar
		binding   string // the client's channel_binding
		connects  bool
		psql, pgx string // what the clients say where they do not connect
	}{
		"TLS on both legs, channel_binding=require": {encrypts: true, binding: "require", psql: "channel binding check failed", pgx: "channel binding check failed"},
		"TLS on both legs, channel_binding=prefer":  {encrypts: true, binding: "prefer", psql: "channel binding check failed", pgx: "channel binding check failed"},
		"TLS on both legs, channel_binding=disable": {encrypts: true, binding: "disable", connects: true},
		"in clear behind it, require":               {binding: "require", psql: "channel binding is required", pgx: "channel binding required"},
		"in clear behind it, prefer":                {binding: "prefer", connects: true},
	} {
		t.Run(name, func(t *testing.T) {
			between := terminator(t, &leaf, s, test.encrypts)
			_, port, _ := net.SplitHostPort(between)
			dsn := "host=127.0.0.1 port=" + port + " user=whoever dbname=app password='" + placeholder + "' sslmode=verify-full sslrootcert=" + root +
				" channel_binding=" + test.binding
			out, err := server.Command("psql", "-wXAtc", "SELECT 1", "-d", dsn).CombinedOutput()
			if test.connects != (err == nil) || !strings.Contains(string(out), test.psql) {
				t.Errorf("psql: %q, %v", out, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			conn, err := pgconn.Connect(ctx, dsn)
			if err == nil {
				conn.Close(ctx)
			}
			if test.connects != (err == nil) || err != nil && !strings.Contains(err.Error(), test.pgx) {
				t.Errorf("pgx: %v", err)
			}
		})
	}
}

// terminator ends TLS with the leaf and goes on to the sidecar, with TLS of its own or in clear.
func terminator(t *testing.T, leaf *tls.Certificate, s *sidecar, encrypts bool) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); running.Wait() })
	request := packetOf(1234<<16 | 5679)
	between := func(client net.Conn) {
		defer client.Close()
		asked := make([]byte, len(request))
		if _, err := io.ReadFull(client, asked); err != nil || string(asked) != string(request) {
			return
		}
		if _, err := client.Write([]byte{'S'}); err != nil {
			return
		}
		front := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{*leaf}})
		back, err := net.Dial("tcp", s.Address())
		if err != nil {
			return
		}
		defer back.Close()
		if encrypts {
			answer := make([]byte, 1)
			if _, err := back.Write(request); err != nil {
				return
			}
			if _, err := io.ReadFull(back, answer); err != nil || answer[0] != 'S' {
				return
			}
			back = tls.Client(back, clientTLS(s))
		}
		var copying sync.WaitGroup
		copying.Go(func() { _, _ = io.Copy(back, front); back.Close() })
		_, _ = io.Copy(front, back)
		front.Close()
		copying.Wait()
	}
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { between(client) })
		}
	})
	return listener.Addr().String()
}

// TestHostileAuthentication answers the request for a password with what no client says.
func TestHostileAuthentication(t *testing.T) {
	first := func(mechanism, said string) []byte {
		m, err := (&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte(said)}).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	message := func(length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{'p'}, length), body...)
	}
	s := newSidecar(t, asking())
	for name, test := range map[string]struct {
		answer []byte
		words  string
	}{
		"a query in its place":                   {[]byte("Q\x00\x00\x00\x0dSELECT 1\x00"), "malformed SASL message"},
		"a length over the server's own":         {message(4+sasl.MaxMessage+1, ""), "malformed SASL message"},
		"a length that is negative":              {message(0xffffffff, ""), "malformed SASL message"},
		"a length less than its own":             {message(3, ""), "malformed SASL message"},
		"a password in clear":                    {message(4+6, "secret"), "malformed SASL message"},
		"another mechanism":                      {first("PLAIN", "x"), "invalid SASL authentication mechanism"},
		"a mechanism that was not offered":       {first(sasl.Bound, "p=tls-server-end-point,,n=,r=abc"), "invalid SASL authentication mechanism"},
		"a mechanism without its first message":  {message(4+uint32(len(sasl.Plain))+1+4, sasl.Plain+"\x00\xff\xff\xff\xff"), "malformed SASL message"},
		"binding with the plain mechanism":       {first(sasl.Plain, "p=tls-server-end-point,,n=,r=abc"), "malformed SASL message"},
		"nothing of SCRAM":                       {first(sasl.Plain, "hello"), "malformed SASL message"},
		"a final message before the first":       {first(sasl.Plain, "c=biws,r=abc,p=AAAA"), "malformed SASL message"},
		"a nonce of its own in the final answer": {append(first(sasl.Plain, "n,,n=,r=abc"), message(4+19, "c=biws,r=abc,p=AAAA")...), "malformed SASL message"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(startup(3<<16, "user", "any", "database", "app")); err != nil {
				t.Fatal(err)
			}
			offered := make([]byte, 24)
			if _, err := io.ReadFull(conn, offered); err != nil || offered[0] != 'R' {
				t.Fatalf("got %q, %v", offered, err)
			}
			if _, err := conn.Write(test.answer); err != nil {
				t.Fatal(err)
			}
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("it was not hung up on: %v", err)
			}
			said := string(answer)
			if !strings.Contains(said, test.words) || strings.Contains(said, "Z\x00\x00\x00\x05") {
				t.Fatalf("got %q", said)
			}
		})
	}
	t.Run("nothing at all: until the deadline", func(t *testing.T) {
		s := newSidecar(t, asking())
		s.set(func() { s.opts.HandshakeTimeout = 300 * time.Millisecond })
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(startup(3<<16, "user", "any", "database", "app")); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatalf("it was not hung up on: %v", err)
		}
	})
}
