package broker

import (
	"net"
	"sync"
)

const (
	// maxConnections is what one replica holds: a connection costs some 40 KiB, so 20,000 are below 1 GiB.
	maxConnections = 20_000
	// maxPerAddress is far above a sidecar's one or two; behind a node that translates addresses many share one.
	maxPerAddress = 512
)

// limited bounds connections before anybody has said who they are.
type limited struct {
	net.Listener
	mu     sync.Mutex // guards what follows
	total  int
	byHost map[string]int
}

func limit(l net.Listener) net.Listener {
	return &limited{Listener: l, byHost: map[string]int{}}
}

// Accept closes what is over the bounds at once.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := host(conn.RemoteAddr())
		if l.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limited) enter(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConnections || l.byHost[from] >= maxPerAddress {
		return false
	}
	l.total++
	l.byHost[from]++
	return true
}

func (l *limited) leave(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.byHost[from]--; l.byHost[from] == 0 {
		delete(l.byHost, from)
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

func host(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	h, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return h
}
