package broker

import (
	"errors"
	"net"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestConnections opens real connections on the loopback.
func TestConnections(t *testing.T) {
	start := func(t *testing.T) (c *connections, open func() net.Conn, accepted <-chan net.Conn) {
		t.Helper()
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c = newConnections()
		l := c.limit(inner)
		in := make(chan net.Conn, maxPerAddress+10)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					close(in)
					return
				}
				in <- conn
			}
		}()
		t.Cleanup(func() {
			inner.Close()
			for conn := range in {
				conn.Close()
			}
		})
		return c, func() net.Conn {
			t.Helper()
			conn, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}, in
	}
	// refused tells whether the listener closes the connection instead of accepting it.
	refused := func(t *testing.T, conn net.Conn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("it was not closed: %v", err)
		}
	}
	next := func(t *testing.T, in <-chan net.Conn) net.Conn {
		t.Helper()
		select {
		case conn := <-in:
			return conn
		case <-time.After(30 * time.Second):
			t.Fatal("it was not accepted")
			return nil
		}
	}

	t.Run("are bounded for an address that shows no token, and free again when one has ended", func(t *testing.T) {
		_, open, in := start(t)
		var first net.Conn
		for i := range maxPerAddress {
			open()
			if conn := next(t, in); i == 0 {
				first = conn
			}
		}
		refused(t, open())
		first.Close()
		first.Close() // twice, as a server may
		open()
		next(t, in)
		refused(t, open())
	})
	t.Run("of pods that have shown their tokens do not count against the address they share", func(t *testing.T) {
		c, open, in := start(t)
		for i := range 2 * maxPerAddress {
			open()
			conn := next(t, in)
			c.identified(conn.RemoteAddr(), types.UID(string(rune('a'+i%26))+string(rune('0'+i/26))))
			c.identified(conn.RemoteAddr(), "another call on the same connection")
			if i%2 == 1 {
				conn.Close()
			}
		}
		if len(c.byHost) != 0 || c.total != maxPerAddress {
			t.Errorf("%v, %d in all", c.byHost, c.total)
		}
	})
	t.Run("of one pod beyond its own count against the address", func(t *testing.T) {
		c, open, in := start(t)
		var all []net.Conn
		for range maxPerPod + 3 {
			open()
			conn := next(t, in)
			c.identified(conn.RemoteAddr(), "pod")
			all = append(all, conn)
		}
		if c.byHost["127.0.0.1"] != 3 || c.byPod["pod"] != maxPerPod {
			t.Errorf("%v, %v", c.byHost, c.byPod)
		}
		for _, conn := range all {
			conn.Close()
		}
		if len(c.byHost)+len(c.byPod)+len(c.open)+c.total != 0 {
			t.Errorf("left: %v, %v, %v, %d", c.byHost, c.byPod, c.open, c.total)
		}
	})
}
