package postgres

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

func TestClientModes(t *testing.T) {
	s := newSidecar(t, allowAll())
	ca, err := server.Put("pod-pgx.crt", s.Authority.PEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"disable", "allow", "prefer", "require", "verify-ca sslrootcert=" + ca, "verify-full sslrootcert=" + ca} {
		t.Run("pgx with sslmode="+mode, func(t *testing.T) {
			rows(t, s.connect(t, "host=localhost sslmode="+mode), "SELECT 1")
		})
	}
	t.Run("pgx with verify-full and another authority does not connect", func(t *testing.T) {
		ca, err := server.Put("other-pgx.crt", server.Authority.PEM)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.tryConnect("host=localhost sslmode=verify-full sslrootcert="+ca, nil); err == nil {
			t.Fatal("it connected")
		}
	})
	t.Run("psql with channel_binding=require gives up, as the documentation says", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(s.Address())
		out, err := server.Command("psql", "-XAtc", "SELECT 1", "host=localhost hostaddr=127.0.0.1 port="+port+
			" user=any dbname=app sslmode=require channel_binding=require").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "channel binding") {
			t.Fatalf("psql: %q, %v", out, err)
		}
	})
}

func TestServerRestart(t *testing.T) {
	own, err := postgresserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Stop() })
	pg := allowAll()
	pg.CAPEM = own.Authority.PEM
	s := newSidecar(t, pg)
	s.dial(own.Address())
	s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: own.Password})
	const database = "dbname=postgres"
	conn := s.connect(t, database)
	rows(t, conn, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	done := later(conn, "SELECT pg_sleep(600)")
	own.Down()
	if o := await(t, done); o.err == nil {
		t.Fatal("a statement succeeded on a server that went down")
	}
	_, err = s.tryConnect(database, nil)
	wantError(t, err, "08001", "billing")
	if err := own.Up(); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, s.connect(t, database), "SELECT count(*) FROM kept"); got[0][0] != "1" {
		t.Fatalf("after the restart: %v", got)
	}
}

func TestNoBackendKeyData(t *testing.T) {
	const update = "UPDATE scratch SET body = 'touched'"
	pg := unfiltered(60, "Refuse")
	pg.TLSMode = policy.TLSDisable
	s := newSidecar(t, pg)
	s.dial(withoutKeys(t, server.Address()))
	conn := s.connect(t, "")
	rows(t, conn, "SELECT 1")
	if conn.PID() == 0 {
		t.Fatal("the agent was given no key")
	}
	done := later(conn, update)
	s.desk.Next(t, 1)
	if err := conn.CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantError(t, await(t, done).err, "57014", "canceling statement")
	rows(t, conn, "SELECT 1")
}

// withoutKeys is the address of a relay to a server that takes BackendKeyData out, as poolers that know no
// cancellation do. Sessions are in clear.
func withoutKeys(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			agent, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", address)
			if err != nil {
				agent.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, agent); up.Close() }()
			go func() { defer agent.Close(); stripKeys(agent, up) }()
		}
	}()
	return l.Addr().String()
}

func stripKeys(w io.Writer, r io.Reader) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if head[0] == 'K' {
			continue
		}
		if _, err := w.Write(append(head[:], body...)); err != nil {
			return
		}
	}
}
