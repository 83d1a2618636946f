package kube

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

const patience = 30 * time.Second

// server is a TLS server with what it does with each connection, and a way to connect to it.
func server(t *testing.T, serve func(net.Conn)) func(context.Context) (*link, error) {
	t.Helper()
	// Its certificate is that of the standard library's own tests.
	web := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				if conn.(*tls.Conn).Handshake() == nil {
					serve(conn)
				}
				conn.Close()
			}()
		}
	}()
	trusted := web.Client().Transport.(*http.Transport).TLSClientConfig
	u := &upstream{
		pool: &pool{upgraded: &tls.Config{RootCAs: trusted.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(2)}},
		dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
		},
	}
	return u.connect
}

// opened waits until a spare is open.
func opened(t *testing.T, s *spares) *spare {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		kept := s.waiting
		s.mu.Unlock()
		if kept != nil {
			return kept
		}
	}
	t.Fatal("no connection was opened")
	return nil
}

// echo answers each byte, and tells when the peer is gone.
func echo(gone chan<- struct{}) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil {
				gone <- struct{}{}
				return
			}
			_, _ = c.Write(b)
		}
	}
}

func TestUpgradesInARowFindAConnectionOpen(t *testing.T) {
	connect := server(t, echo(make(chan struct{}, 8)))
	s := &spares{age: time.Hour}
	s.prepare(patience, connect)
	if s.opening || s.take() != nil {
		t.Fatal("one upgrade alone opened a second connection")
	}
	for range 3 {
		s.prepare(patience, connect)
		kept := opened(t, s)
		l := s.take()
		if l != kept.link || s.take() != nil {
			t.Fatal("it is not given out once")
		}
		if _, err := l.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if b, err := l.reader.ReadByte(); err != nil || b != 'x' {
			t.Fatalf("%q, %v", b, err)
		}
		l.Close()
	}
}

func TestAConnectionThatTheServerEndedIsNotUsed(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed": func(net.Conn) {},
		"spoken on unasked": func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
			echo(make(chan struct{}, 8))(c)
		},
		"reset without more": func(c net.Conn) {
			_ = c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
			c.(*tls.Conn).NetConn().Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			connect := server(t, serve)
			s := &spares{age: time.Hour}
			s.prepare(patience, connect)
			s.prepare(patience, connect)
			kept := opened(t, s)
			select {
			case <-kept.over:
			case <-time.After(patience):
				t.Fatal("it was not noticed")
			}
			if s.take() != nil {
				t.Error("it is used")
			}
		})
	}
}

func TestAConnectionThatNobodyNeedsIsClosed(t *testing.T) {
	gone := make(chan struct{}, 8)
	connect := server(t, echo(gone))
	s := &spares{age: time.Hour}
	s.prepare(patience, connect)
	s.mu.Lock()
	s.age = 50 * time.Millisecond
	s.last = time.Now().Add(time.Hour) // however slow this machine is, the next comes soon behind
	s.mu.Unlock()
	s.prepare(patience, connect)
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("it stays open")
	}
	if s.take() != nil {
		t.Error("it is used")
	}
}
