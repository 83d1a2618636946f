package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// corked keeps what is written to it until it is let go.
type corked struct {
	net.Conn
	mu   sync.Mutex // guards what follows
	shut bool
	kept bytes.Buffer
}

func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return c.kept.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
}

func (c *corked) release(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = false
	// crypto/tls lets nothing be written behind its last word.
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.kept.WriteTo(c.Conn); err != nil {
		t.Fatal(err)
	}
}

func TestLastWordsOfAnAgentThatHangsUp(t *testing.T) {
	for name, comment := range map[string]string{"short": "", "long": strings.Repeat("x", 10<<10)} {
		t.Run("a "+name+" statement that comes with the end of a TLS connection runs", func(t *testing.T) {
			s := newSidecar(t, allowAll())
			var wire *corked
			conn, err := s.tryConnect("sslmode=require", func(c *pgconn.Config) {
				dial := c.DialFunc
				c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := dial(ctx, network, address)
					wire = &corked{Conn: conn}
					return wire, err
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			k := talk(t, conn)
			secure, ok := k.conn.(*tls.Conn)
			if !ok {
				t.Fatalf("a connection without TLS: %T", k.conn)
			}
			wire.cork()
			k.send(q("CREATE TABLE last_" + name + "() -- " + comment))
			if err := secure.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			wire.release(t)
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if got := direct(t, "SELECT to_regclass('last_"+name+"') IS NOT NULL"); got[0][0] == "t" {
					break
				}
				if time.Now().After(end) {
					t.Fatal("it never ran")
				}
			}
			direct(t, "DROP TABLE last_"+name)
		})
	}
}
