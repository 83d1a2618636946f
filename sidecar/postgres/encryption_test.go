package postgres

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	cancelRequest = 1234<<16 | 5678
	sslRequest    = 1234<<16 | 5679
	gssRequest    = 1234<<16 | 5680
)

// asks sends a request for encryption and wants the one byte that answers it.
func asks(t *testing.T, conn net.Conn, request uint32, want byte) {
	t.Helper()
	if _, err := conn.Write(packetOf(request)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != want {
		t.Fatalf("got %q, %v, want %q", answer, err, want)
	}
}

// overConn finishes a connection on which encryption has been agreed on already, and asks for something.
func overConn(t *testing.T, s *sidecar, conn net.Conn) {
	t.Helper()
	pg, err := s.tryConnect("", func(c *pgconn.Config) {
		c.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Close(context.Background())
	if got := rows(t, pg, "SELECT 6*7"); got[0][0] != "42" {
		t.Fatalf("got %v", got)
	}
}

// TestEncryptionIsAgreedOn goes through the requests that may come before the start-up packet (protocol, "SSL Session
// Encryption" and "GSSAPI Session Encryption").
func TestEncryptionIsAgreedOn(t *testing.T) {
	s := newSidecar(t, allowAll())
	dial := func(t *testing.T) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	t.Run("GSSENCRequest is declined, and the session begins in clear", func(t *testing.T) {
		conn := dial(t)
		asks(t, conn, gssRequest, 'N')
		overConn(t, s, conn)
	})
	t.Run("GSSENCRequest is declined, and the session begins with TLS", func(t *testing.T) {
		conn := dial(t)
		asks(t, conn, gssRequest, 'N')
		asks(t, conn, sslRequest, 'S')
		overConn(t, s, tls.Client(conn, clientTLS(s)))
	})
	t.Run("SSLRequest with the protocol named in the handshake as well", func(t *testing.T) {
		conn := dial(t)
		asks(t, conn, sslRequest, 'S')
		secure := tls.Client(conn, clientTLS(s, alpn))
		overConn(t, s, secure)
		if got := secure.ConnectionState().NegotiatedProtocol; got != alpn {
			t.Fatalf("negotiated %q", got)
		}
	})
	t.Run("direct TLS that names the protocol", func(t *testing.T) {
		secure := tls.Client(dial(t), clientTLS(s, "h2", alpn))
		overConn(t, s, secure)
		if got := secure.ConnectionState().NegotiatedProtocol; got != alpn {
			t.Fatalf("negotiated %q", got)
		}
	})
	t.Run("direct TLS that names another protocol does not come about", func(t *testing.T) {
		secure := tls.Client(dial(t), clientTLS(s, "h2"))
		if err := secure.Handshake(); err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Fatalf("got %v", err)
		}
	})
	for name, requests := range map[string][]uint32{
		"encryption inside of encryption":  {sslRequest},
		"GSSAPI encryption inside of TLS":  {gssRequest},
		"a start-up of protocol 2 in it":   {2 << 16},
		"a length behind that is negative": {},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			conn := dial(t)
			asks(t, conn, sslRequest, 'S')
			secure := tls.Client(conn, clientTLS(s))
			packet := []byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0}
			for _, r := range requests {
				packet = append(packetOf(r), 0, 0)
				binary.BigEndian.PutUint32(packet, uint32(len(packet)))
				if r>>16 == 1234 {
					packet = packetOf(r)
				}
			}
			if _, err := secure.Write(packet); err != nil {
				t.Fatal(err)
			}
			secure.SetReadDeadline(time.Now().Add(30 * time.Second))
			if answer, err := io.ReadAll(secure); err != nil || !strings.Contains(string(answer), "C08P01") {
				t.Fatalf("got %q, %v", answer, err)
			}
		})
	}
}

// sendCancel sends a CancelRequest as libpq 17 and later do, encrypted as the session is.
func (s *sidecar) sendCancel(t *testing.T, how string, pid uint32, key []byte) {
	t.Helper()
	packet := append(binary.BigEndian.AppendUint32(packetOf(cancelRequest), pid), key...)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	switch how {
	case "over TLS":
		asks(t, conn, sslRequest, 'S')
		conn = tls.Client(conn, clientTLS(s))
	case "over direct TLS":
		conn = tls.Client(conn, clientTLS(s, alpn))
	}
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	// It is answered by nothing but the end.
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if answer, err := io.ReadAll(conn); err != nil || len(answer) > 0 {
		t.Fatalf("%s: got %q, %v", how, answer, err)
	}
}

// TestProtocolVersions speaks both minor versions, and cancels by the keys of both: what runs, and what waits for people.
func TestProtocolVersions(t *testing.T) {
	s := newSidecar(t, unfiltered(600, "Refuse"))
	asked := 0
	for _, version := range []struct {
		name string
		key  int // bytes
	}{{"3.0", 4}, {"3.2", 32}} {
		start := func(t *testing.T) *pgconn.PgConn {
			t.Helper()
			conn, err := s.tryConnect("", func(c *pgconn.Config) { c.MinProtocolVersion, c.MaxProtocolVersion = version.name, version.name })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close(context.Background()) })
			if len(conn.SecretKey()) != version.key {
				t.Fatalf("a key of %d bytes", len(conn.SecretKey()))
			}
			return conn
		}
		t.Run(version.name+": a session as any", func(t *testing.T) {
			conn := start(t)
			if got := rows(t, conn, "SELECT name FROM customers WHERE id = 1"); got[0][0] != "Ada" {
				t.Fatalf("got %v", got)
			}
			_, err := query(conn, "SELECT 1/0")
			wantError(t, err, "22012")
		})
		for _, how := range []string{"in clear", "over TLS", "over direct TLS"} {
			t.Run(version.name+": what runs is cancelled "+how, func(t *testing.T) {
				conn := start(t)
				done := later(conn, "SELECT pg_sleep(600)")
				running(t, conn)
				for _, wrong := range []func(key []byte) []byte{
					func(key []byte) []byte { key[len(key)-1] ^= 1; return key },
					func(key []byte) []byte { key[0] ^= 1; return key[:4] }, // the length of 3.0's
					func(key []byte) []byte { return append(key, 0) },
					func([]byte) []byte { return make([]byte, 32) },
				} {
					s.sendCancel(t, how, conn.PID(), wrong(append([]byte{}, conn.SecretKey()...)))
				}
				s.sendCancel(t, how, conn.PID()+1, conn.SecretKey())
				running(t, conn)
				s.sendCancel(t, how, conn.PID(), conn.SecretKey())
				wantError(t, await(t, done).err, "57014", "user request")
				rows(t, conn, "SELECT 1")
			})
			t.Run(version.name+": what waits for approval is cancelled "+how, func(t *testing.T) {
				conn := start(t)
				done := later(conn, fmt.Sprintf("UPDATE scratch SET body = '%s %s'", version.name, how))
				asked++
				s.desk.Next(t, asked)
				s.sendCancel(t, how, conn.PID(), conn.SecretKey())
				wantError(t, await(t, done).err, "57014", "canceling statement")
				if s.desk.Withdrawn(asked) != 1 {
					t.Fatal("the request still waits")
				}
				rows(t, conn, "SELECT 1")
			})
		}
	}
	t.Run("a key of the sidecar's is none of the server's", func(t *testing.T) {
		conn := s.connect(t, "")
		done := later(conn, "SELECT pg_sleep(600)")
		running(t, conn)
		past, err := net.Dial("tcp", server.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer past.Close()
		packet := append(binary.BigEndian.AppendUint32(packetOf(cancelRequest), conn.PID()), conn.SecretKey()...)
		binary.BigEndian.PutUint32(packet, uint32(len(packet)))
		if _, err := past.Write(packet); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(past) // until the server has looked at it
		running(t, conn)
		if err := conn.CancelRequest(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantError(t, await(t, done).err, "57014")
	})
}

// running waits until the server runs a statement of the connection's.
func running(t *testing.T, conn *pgconn.PgConn) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if got := direct(t, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active' AND wait_event = 'PgSleep'", conn.PID())); got[0][0] == "1" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the server never ran it")
		}
	}
}
