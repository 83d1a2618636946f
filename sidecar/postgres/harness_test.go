package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/session/sessiontest"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
	"github.com/chaperone-dev/chaperone/test/postgressidecar"
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
	code := 0
	for _, underTest = range drivers {
		if code = max(code, m.Run()); code != 0 {
			fmt.Fprintf(os.Stderr, "with driver %d\n", underTest)
		}
	}
	return code, nil
}

// drivers all have to pass all tests; underTest is the one that they use now.
var (
	drivers   = []Driver{Goroutines, EventLoop}
	underTest Driver
)

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
	*postgressidecar.Front
	destination atomic.Pointer[policy.Destination]
	lease       atomic.Pointer[session.Lease]
	leaseErr    error
	upstream    func(context.Context) (net.Conn, error)
	log         *sessiontest.Log
	desk        *sessiontest.Desk
	setting     sync.Mutex // orders set before the connections behind it
}

// dial says where the target is.
func (s *sidecar) dial(address string) {
	s.set(func() { s.upstream = postgressidecar.Dialer(address) })
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
	d, err := postgressidecar.Destination(pg, change...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newSidecar(t testing.TB, pg policy.Postgres, change ...func(*policy.Policy)) *sidecar {
	t.Helper()
	s := &sidecar{Protocol: New(Options{Driver: underTest, HandshakeTimeout: 5 * time.Second, ConnectTimeout: 5 * time.Second, FlushTimeout: 2 * time.Second}),
		log: &sessiontest.Log{}, desk: sessiontest.NewDesk()}
	s.destination.Store(destination(t, pg, change...))
	s.lease.Store(&session.Lease{Username: "agent", Password: agentPassword})
	s.dial(server.Address())
	s.Front = &postgressidecar.Front{
		Protocol: s.Protocol, Rules: s.destination.Load, Dial: s.dialUpstream, Credentials: s, Approvals: s.desk, Recorder: s.log,
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func (s *sidecar) dialUpstream(ctx context.Context) (net.Conn, error) {
	s.setting.Lock()
	dial := s.upstream
	s.setting.Unlock()
	return dial(ctx)
}

// Lease implements session.Credentials.
func (s *sidecar) Lease(_ context.Context, p, target string) (*session.Lease, error) {
	if p != postgressidecar.Policy || target != postgressidecar.Target {
		return nil, fmt.Errorf("no such lease: %s %s", p, target)
	}
	return s.lease.Load(), s.leaseErr
}

func (s *sidecar) dsn(extra string) string {
	return s.DSN("app") + " " + extra
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
