package postgres

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

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

// TestFailover has the target's name lead to another server as the first is lost.
func TestFailover(t *testing.T) {
	var servers [2]*postgresserver.Server
	pg := masked(policy.MaskRedact)
	pg.Masking, pg.CAPEM = pg.Masking[:1], nil // no detector, which would find cards by themselves
	for i, column := range []string{"name", "card_number"} {
		own, err := postgresserver.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = own.Stop() })
		servers[i], pg.CAPEM = own, append(pg.CAPEM, own.Authority.PEM...)
		holding(t, own, "postgres", column)
	}
	s := newSidecar(t, pg)
	lead := func(to *postgresserver.Server) {
		s.dial(to.Address())
		s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: to.Password})
	}
	lead(servers[0])
	const database, seen = "dbname=postgres", "SELECT c FROM cards"
	conn, idle := s.connect(t, database), s.connect(t, database)
	if got := rows(t, conn, seen); got[0][0] != "Ada" {
		t.Fatalf("got %v", got)
	}
	done := later(conn, "SELECT pg_sleep(600)")
	lead(servers[1])
	servers[0].Down()
	if o := await(t, done); o.err == nil {
		t.Fatal("a statement succeeded on a server that was lost")
	}
	if _, err := query(idle, "SELECT 1"); err == nil {
		t.Fatal("a session goes on whose server was lost")
	}
	// What the other server holds is its own: nothing that was known of the first makes it clear.
	if got := rows(t, s.connect(t, database), seen); got[0][0] != "********" {
		t.Fatalf("behind the failover: %v", got)
	}
	t.Run("what was known of the first is forgotten once nobody uses it", func(t *testing.T) {
		s.Stop()
		_, forget := s.shared(catalogueKey{address: "db.test:5432", database: "postgres", user: postgresserver.Superuser, server: "a third"})
		forget()
		if n := len(s.catalogues); n != 1 {
			t.Fatalf("%d are known", n)
		}
	})
}

// TestDatabasesOfOneTarget has the same name mean something else in each database of a server.
func TestDatabasesOfOneTarget(t *testing.T) {
	own, err := postgresserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Stop() })
	pg := masked(policy.MaskRedact)
	pg.Masking, pg.CAPEM = pg.Masking[:1], own.Authority.PEM
	s := newSidecar(t, pg)
	s.dial(own.Address())
	s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: own.Password})
	past, err := pgconn.Connect(t.Context(), own.DSN(postgresserver.Superuser, own.Password, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close(context.Background())
	t.Run("several at a time", func(t *testing.T) {
		want := map[string]string{"of_names": "Ada", "of_cards": "********"}
		var conns []*pgconn.PgConn
		for database, column := range map[string]string{"of_names": "name", "of_cards": "card_number"} {
			rows(t, past, "CREATE DATABASE "+database)
			holding(t, own, database, column)
			conns = append(conns, s.connect(t, "dbname="+database), s.connect(t, "dbname="+database))
		}
		for range 2 {
			for _, conn := range conns {
				if got := rows(t, conn, "SELECT current_database(), c FROM cards"); got[0][1] != want[got[0][0]] {
					t.Fatalf("got %v", got)
				}
			}
		}
	})
	t.Run("one that is made anew past the sidecar", func(t *testing.T) {
		for _, step := range []struct{ column, want string }{{"name", "Ada"}, {"card_number", "********"}, {"name", "Ada"}} {
			rows(t, past, "DROP DATABASE IF EXISTS again WITH (FORCE)")
			rows(t, past, "CREATE DATABASE again")
			holding(t, own, "again", step.column)
			if got := rows(t, s.connect(t, "dbname=again"), "SELECT c FROM cards"); got[0][0] != step.want {
				t.Fatalf("%s: got %v", step.column, got)
			}
		}
	})
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

// withoutKeys is a relay that takes BackendKeyData out, as poolers that know no cancellation do.
func withoutKeys(t *testing.T, address string) string {
	return relayed(t, address, func(kind byte, body []byte) []byte {
		if kind == 'K' {
			return nil
		}
		return body
	})
}

// relayed is the address of a relay to a server that changes the bodies of its messages, or leaves out those that it
// makes nil. Sessions are in clear.
func relayed(t *testing.T, address string, change func(kind byte, body []byte) []byte) string {
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
			go func() { defer agent.Close(); changing(agent, up, change) }()
		}
	}()
	return l.Addr().String()
}

func changing(w io.Writer, r io.Reader, change func(kind byte, body []byte) []byte) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if body = change(head[0], body); body == nil {
			continue
		}
		binary.BigEndian.PutUint32(head[1:], uint32(len(body)+4))
		if _, err := w.Write(append(head[:], body...)); err != nil {
			return
		}
	}
}
