package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// database is the server that all tests of the package share.
var server *postgresserver.Server

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	if server, err = postgresserver.Start("max_prepared_transactions=5"); err != nil {
		return 1, err
	}
	defer server.Stop()
	if err := fill(); err != nil {
		return 1, fmt.Errorf("filling the database: %w", err)
	}
	return m.Run(), nil
}

const agentPassword = "upstream-secret"

func fill() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, server.DSN(postgresserver.Superuser, server.Password, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range []string{
		"CREATE ROLE agent LOGIN PASSWORD '" + agentPassword + "'",
		"CREATE ROLE auth_trust LOGIN", "CREATE ROLE auth_cleartext LOGIN PASSWORD '" + agentPassword + "'",
		"SET password_encryption = md5; CREATE ROLE auth_md5 LOGIN PASSWORD '" + agentPassword + "'; RESET password_encryption",
		"CREATE ROLE auth_certificate LOGIN",
		"CREATE DATABASE app OWNER agent",
	} {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	app, err := pgconn.Connect(ctx, server.DSN("agent", agentPassword, "app"))
	if err != nil {
		return err
	}
	defer app.Close(ctx)
	schema, err := os.ReadFile(filepath.Join("testdata", "schema.sql"))
	if err != nil {
		return err
	}
	_, err = app.Exec(ctx, string(schema)).ReadAll()
	return err
}

// direct connects past the sidecar, to see what the database holds.
func direct(t testing.TB, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, server.DSN("agent", agentPassword, "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	return rows(t, conn, sql)
}

func rows(t testing.TB, conn *pgconn.PgConn, sql string) [][]string {
	t.Helper()
	out, err := query(conn, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// query runs a simple query and returns the rows of its last result; "NULL" for NULL.
func query(conn *pgconn.PgConn, sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return text(results[len(results)-1].Rows), nil
}

func text(rows [][][]byte) [][]string {
	var out [][]string
	for _, r := range rows {
		var line []string
		for _, v := range r {
			if v == nil {
				line = append(line, "NULL")
			} else {
				line = append(line, string(v))
			}
		}
		out = append(out, line)
	}
	return out
}

// sidecar is a Protocol behind a listener, with what a session needs filled in by the test's own process.
type sidecar struct {
	*Protocol
	t           testing.TB
	listener    net.Listener
	authority   *postgresserver.Authority
	destination atomic.Pointer[policy.Destination]
	lease       atomic.Pointer[session.Lease]
	leaseErr    error
	upstream    func(context.Context) (net.Conn, error)
	log         *log
	desk        *desk
	sessions    sync.WaitGroup
	cancel      context.CancelFunc
	setting     sync.Mutex // orders set before the connections behind it
}

// dial says where the target is.
func (s *sidecar) dial(address string) {
	s.set(func() {
		s.upstream = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	})
}

// set changes the sidecar between connections.
func (s *sidecar) set(change func()) {
	s.setting.Lock()
	defer s.setting.Unlock()
	change()
}

// allowAll is a policy that permits everything to the test's database.
func allowAll() policy.Postgres {
	return policy.Postgres{TLSMode: policy.TLSVerifyFull, CAPEM: server.Authority.PEM, HasCredentials: true, CredentialsID: "prod/billing-db", DefaultAction: policy.Allow}
}

func destination(t testing.TB, pg policy.Postgres, change ...func(*policy.Policy)) *policy.Destination {
	t.Helper()
	p := policy.Policy{
		Namespace: "prod", Name: "billing", Generation: 3, Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets:   []policy.Target{{Name: "billing", Hosts: []string{"db.test"}, Port: 5432, Postgres: &pg}},
	}
	for _, f := range change {
		f(&p)
	}
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{p}})
	if err != nil {
		t.Fatal(err)
	}
	d := compiled.Lookup("db.test", 5432)
	if d == nil {
		t.Fatal("the policy has no destination")
	}
	return d
}

func newSidecar(t testing.TB, pg policy.Postgres, change ...func(*policy.Policy)) *sidecar {
	t.Helper()
	s := &sidecar{Protocol: New(Options{HandshakeTimeout: 5 * time.Second, ConnectTimeout: 5 * time.Second, FlushTimeout: 2 * time.Second}),
		t: t, log: &log{}, desk: &desk{changed: make(chan struct{})}}
	s.destination.Store(destination(t, pg, change...))
	s.lease.Store(&session.Lease{Username: "agent", Password: agentPassword})
	s.dial(server.Address())
	var err error
	if s.authority, err = postgresserver.NewAuthority("the pod's authority"); err != nil {
		t.Fatal(err)
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.sessions.Add(1)
	go s.accept(ctx)
	t.Cleanup(func() {
		cancel()
		s.listener.Close()
		s.sessions.Wait()
	})
	return s
}

func (s *sidecar) accept(ctx context.Context) {
	defer s.sessions.Done()
	cert, key, err := s.authority.Issue("db.test", "db.test", "localhost", "127.0.0.1")
	if err != nil {
		s.t.Error(err)
		return
	}
	leaf, err := tls.X509KeyPair(cert, key)
	if err != nil {
		s.t.Error(err)
		return
	}
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.sessions.Add(1)
		s.setting.Lock()
		upstream := s.upstream
		s.setting.Unlock()
		go func() {
			defer s.sessions.Done()
			err := s.Serve(ctx, &session.Session{
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:5432"), Host: "db.test",
				Rules:        s.destination.Load,
				Leaf:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &leaf, nil },
				DialUpstream: upstream, Credentials: s, Approvals: s.desk, Recorder: s.log, Log: logr.Discard(),
			})
			s.log.ended(err)
		}()
	}
}

// Lease implements session.Credentials.
func (s *sidecar) Lease(_ context.Context, p, target string) (*session.Lease, error) {
	if p != "prod/billing" || target != "billing" {
		return nil, fmt.Errorf("no such lease: %s %s", p, target)
	}
	return s.lease.Load(), s.leaseErr
}

func (s *sidecar) dsn(extra string) string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return fmt.Sprintf("host=127.0.0.1 port=%s user=whoever dbname=app sslmode=disable %s", port, extra)
}

func (s *sidecar) connect(t testing.TB, extra string) *pgconn.PgConn {
	t.Helper()
	conn, err := s.tryConnect(extra, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

func (s *sidecar) tryConnect(extra string, change func(*pgconn.Config)) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	config, err := pgconn.ParseConfig(s.dsn(extra))
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(config)
	}
	return pgconn.ConnectConfig(ctx, config)
}

// wantError checks an error of the server's protocol.
func wantError(t testing.TB, err error, code string, words ...string) *pgconn.PgError {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error with SQLSTATE %s", err, code)
	}
	all := strings.Join([]string{e.Message, e.Detail, e.Hint}, " | ")
	if e.Code != code {
		t.Fatalf("got SQLSTATE %s (%s), want %s", e.Code, all, code)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Fatalf("the error %q does not say %q", all, w)
		}
	}
	return e
}

func queryDirect(t testing.TB, sql string) ([][]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, server.DSN("agent", agentPassword, "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	return query(conn, sql)
}
