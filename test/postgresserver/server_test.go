package postgresserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestServer(t *testing.T) {
	Each(t, testServer, "log_statement=all")
}

func testServer(t *testing.T, s *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	t.Run("answers over TLS with a certificate of its authority", func(t *testing.T) {
		cfg, err := pgconn.ParseConfig(s.DSN(Superuser, s.Password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.Authority.PEM)
		cfg.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "db.test"}
		conn, err := pgconn.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		got, err := conn.Exec(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").ReadAll()
		if err != nil || string(got[0].Rows[0][0]) != "t" {
			t.Fatalf("got %v, %v; want a TLS session", got, err)
		}
	})
	t.Run("is of the major version that its installation says", func(t *testing.T) {
		if got := query(ctx, t, s, "SHOW server_version_num"); got[:2] != strconv.Itoa(s.Major) {
			t.Fatalf("it is %s, not %d", got, s.Major)
		}
	})
	t.Run("refuses a wrong password", func(t *testing.T) {
		if _, err := pgconn.Connect(ctx, s.DSN(Superuser, "wrong", "postgres")); err == nil {
			t.Fatal("connected with a wrong password")
		}
	})
	t.Run("keeps its data over a crash", func(t *testing.T) {
		query(ctx, t, s, "CREATE TABLE kept (n int); CHECKPOINT")
		s.Down()
		if _, err := pgconn.Connect(ctx, s.DSN(Superuser, s.Password, "postgres")); err == nil {
			t.Fatal("a server that is down answered")
		}
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}
		query(ctx, t, s, "SELECT n FROM kept")
	})
	t.Run("runs the client programs", func(t *testing.T) {
		out, err := s.Command("psql", "-XAtc", "SELECT 1+1", s.DSN(Superuser, s.Password, "postgres")).CombinedOutput()
		if err != nil || string(out) != "2\n" {
			t.Fatalf("psql said %q, %v", out, err)
		}
	})
}

// query returns the first value, where there is one.
func query(ctx context.Context, t *testing.T, s *Server, sql string) string {
	t.Helper()
	conn, err := pgconn.Connect(ctx, s.DSN(Superuser, s.Password, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}
