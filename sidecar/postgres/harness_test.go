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
	"github.com/chaperone-dev/chaperone/sidecar/record"
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

// log keeps events in memory.
type log struct {
	mu      sync.Mutex
	events  []record.Event
	flushes int
	fail    error // of Record
	failing error // of Flush
	errs    []error
}

func (l *log) Record(e record.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.events = append(l.events, e)
	return nil
}

func (l *log) Flush(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushes++
	return l.failing
}

// fails makes recording, and flushing, fail; nil mends them.
func (l *log) fails(record, flush error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail, l.failing = record, flush
}

func (l *log) Close() error { return nil }

func (l *log) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// find returns the events of a kind for which ok is true, waiting a moment for the first.
func (l *log) find(kind record.Kind, ok func(record.Event) bool) []record.Event {
	for wait := 0; ; wait++ {
		var out []record.Event
		l.mu.Lock()
		for _, e := range l.events {
			if e.Kind == kind && (ok == nil || ok(e)) {
				out = append(out, e)
			}
		}
		l.mu.Unlock()
		if len(out) > 0 || wait == 100 {
			return out
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// desk is where people decide: it keeps requests by what they are for, as the operator does.
type desk struct {
	mu       sync.Mutex
	requests []*request
	changed  chan struct{} // closed and renewed at every change
	down     bool
}

type request struct {
	name     string
	ask      session.Ask
	state    string // Pending, Approved, Denied, Expired, Used
	reason   string
	waiting  int
	withdrew int // callers that gave up
}

// Await implements session.Approvals.
func (d *desk) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	d.mu.Lock()
	if d.down {
		d.mu.Unlock()
		return nil, fmt.Errorf("the operator cannot be reached: %w", session.ErrUnavailable)
	}
	var r *request
	for _, other := range d.requests {
		if other.ask.Digest == ask.Digest && other.ask.Verdict.Rule == ask.Verdict.Rule && (other.state == "Pending" || other.state == "Approved") {
			r = other
		}
	}
	if r == nil {
		r = &request{name: fmt.Sprintf("apr-%d", len(d.requests)+1), ask: ask, state: "Pending"}
		d.requests = append(d.requests, r)
	}
	r.waiting++
	d.renew()
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		r.waiting--
		d.renew()
		d.mu.Unlock()
	}()
	if r.state != "Approved" {
		notify(r.name)
	}
	limit := time.NewTimer(time.Duration(ask.Verdict.Approval.WaitSeconds) * time.Second)
	defer limit.Stop()
	for {
		d.mu.Lock()
		state, reason, changed := r.state, r.reason, d.changed
		if state == "Approved" {
			r.state = "Used"
		}
		d.mu.Unlock()
		switch state {
		case "Approved":
			return &session.Grant{Request: r.name, Deciders: []string{"alice"}}, nil
		case "Denied":
			return nil, fmt.Errorf("request %s: %w by alice: %s", r.name, session.ErrDenied, reason)
		case "Expired":
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrExpired)
		}
		if ask.Verdict.Approval.WaitSeconds == 0 {
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrPending)
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			r.withdrew++
			d.mu.Unlock()
			return nil, ctx.Err()
		case <-limit.C:
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrPending)
		case <-changed:
		}
	}
}

func (d *desk) renew() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// next waits until request number n has been filed and somebody waits for it.
func (d *desk) next(t testing.TB, n int) session.Ask {
	t.Helper()
	for range 500 {
		d.mu.Lock()
		if len(d.requests) >= n {
			r := d.requests[n-1]
			d.mu.Unlock()
			return r.ask
		}
		d.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("request %d was never filed", n)
	return session.Ask{}
}

func (d *desk) decide(n int, state, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests[n-1].state, d.requests[n-1].reason = state, reason
	d.renew()
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.requests)
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
