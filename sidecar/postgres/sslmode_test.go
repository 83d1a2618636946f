package postgres

import (
	"context"
	"crypto/tls"
	sqldriver "database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

// How a client's connection came out.
const (
	encrypted = "TLS"
	inClear   = "in clear"
	refusing  = "the client refuses"
)

// TestSSLModes connects clients in every sslmode, with the root that they name for the database: overlaid with the
// pod's, as trust.paths does; the database's own, without that; and none. libpq, pgx and lib/pq read require as
// verify-ca where a root is named, and prefer and allow give up on TLS sooner than on the connection.
func TestSSLModes(t *testing.T) {
	s := newSidecar(t, allowAll())
	overlaid, err := server.Put("overlaid.crt", s.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	own, err := server.Put("own.crt", server.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := []struct{ name, setting string }{{"overlaid", " sslrootcert=" + overlaid}, {"not overlaid", " sslrootcert=" + own}, {"not named", ""}}
	clients := map[string]func(t *testing.T, dsn string) string{"psql": byPsql, "pgx": byPgx, "lib/pq": byPQ}
	table := []struct {
		mode string
		want map[string][3]string // by client, in the order of roots
	}{
		{"disable", all(inClear, inClear, inClear)},
		{"allow", all(inClear, inClear, inClear)},
		// pgx looks at no root here.
		{"prefer", but(all(encrypted, inClear, encrypted), "pgx", encrypted, encrypted, encrypted)},
		{"require", all(encrypted, refusing, encrypted)},
		{"verify-ca", all(encrypted, refusing, refusing)},
		{"verify-full", all(encrypted, refusing, refusing)},
	}
	for _, row := range table {
		for client, connect := range clients {
			for i, root := range roots {
				t.Run(fmt.Sprintf("%s with %s and its root %s", client, row.mode, root.name), func(t *testing.T) {
					_, port, _ := net.SplitHostPort(s.Address())
					got := connect(t, "host=127.0.0.1 port="+port+" user=whoever dbname=app sslmode="+row.mode+root.setting)
					if want := row.want[client][i]; got != want {
						t.Fatalf("got %s, want %s", got, want)
					}
				})
			}
		}
	}
	for _, mode := range []string{"require", "verify-ca", "verify-full"} {
		t.Run("pgx with direct TLS, "+mode, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(s.Address())
			got := byPgx(t, "host=127.0.0.1 port="+port+" user=whoever dbname=app sslnegotiation=direct sslmode="+mode+" sslrootcert="+overlaid)
			if got != encrypted {
				t.Fatalf("got %s", got)
			}
		})
	}
}

func all(overlaid, own, none string) map[string][3]string {
	out := make(map[string][3]string)
	for _, client := range []string{"psql", "pgx", "lib/pq"} {
		out[client] = [3]string{overlaid, own, none}
	}
	return out
}

func but(rows map[string][3]string, client, overlaid, own, none string) map[string][3]string {
	rows[client] = [3]string{overlaid, own, none}
	return rows
}

// byPsql asks libpq itself.
func byPsql(t *testing.T, dsn string) string {
	out, err := server.Command("psql", "-XAt", "-c", "SELECT 6*7", "-c", `\conninfo`, "-d", dsn).CombinedOutput()
	said := string(out)
	switch {
	case err == nil && strings.HasPrefix(said, "42\n") && strings.Contains(said, "SSL connection"):
		return encrypted
	case err == nil && strings.HasPrefix(said, "42\n"):
		return inClear
	case err != nil && (strings.Contains(said, "certificate verify failed") || strings.Contains(said, "root certificate file")):
		return refusing
	}
	t.Fatalf("psql: %q, %v", said, err)
	return ""
}

func byPgx(t *testing.T, dsn string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return refuses(t, err)
	}
	defer conn.Close(ctx)
	if got := rows(t, conn, "SELECT 6*7"); got[0][0] != "42" {
		t.Fatalf("got %v", got)
	}
	if _, ok := conn.Conn().(*tls.Conn); ok {
		return encrypted
	}
	return inClear
}

func byPQ(t *testing.T, dsn string) string {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	heard := &hearing{}
	connector.Dialer(heard)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := connector.Connect(ctx)
	if err != nil {
		return refuses(t, err)
	}
	defer conn.Close()
	result, err := conn.(sqldriver.QueryerContext).QueryContext(ctx, "SELECT 6*7", nil)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]sqldriver.Value, 1)
	if err := result.Next(row); err != nil || row[0] != int64(42) {
		t.Fatalf("got %v, %v", row, err)
	}
	if err := result.Next(row); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if heard.startup() {
		return inClear
	}
	return encrypted
}

// refuses wants an error that is the client's own, about a certificate.
func refuses(t *testing.T, err error) string {
	if !strings.Contains(err.Error(), "x509: ") && !strings.Contains(err.Error(), "certificate") {
		t.Fatal(err)
	}
	return refusing
}

// hearing dials, and keeps what the last connection said first.
type hearing struct {
	mu    sync.Mutex // guards first: another goroutine may still close
	first []byte
}

// Dial implements pq.Dialer.
func (h *hearing) Dial(network, address string) (net.Conn, error) {
	return h.DialTimeout(network, address, 30*time.Second)
}

// DialTimeout implements pq.Dialer.
func (h *hearing) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = nil
	return &heard{Conn: conn, by: h}, nil
}

// startup tells whether the connection began with a start-up packet of protocol 3, in clear.
func (h *hearing) startup() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.first) >= 8 && binary.BigEndian.Uint32(h.first[4:])>>16 == 3
}

type heard struct {
	net.Conn
	by *hearing
}

func (c *heard) Write(p []byte) (int, error) {
	c.by.mu.Lock()
	if c.by.first == nil {
		c.by.first = append([]byte{}, p...)
	}
	c.by.mu.Unlock()
	return c.Conn.Write(p)
}
