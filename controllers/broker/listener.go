package broker

import (
	"net"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxConnections is what one replica holds: a connection costs some 40 KiB, so 20,000 are below 1 GiB.
	maxConnections = 20_000
	// maxPerAddress bounds an address's connections on which nobody has shown a pod's token yet. Behind a node or a
	// gateway that translates addresses many sidecars share one, each for as long as a review takes.
	maxPerAddress = 512
	// maxPerPod is how many connections of one pod do not count against its address: a sidecar has one, and one more
	// while it connects again.
	maxPerPod = 8
)

// connections bounds what is open before anybody has said who they are, and in all.
type connections struct {
	mu     sync.Mutex // guards what follows and each counted's pod
	total  int
	byHost map[string]int
	byPod  map[types.UID]int
	open   map[string]*counted // by remote address
}

func newConnections() *connections {
	return &connections{byHost: map[string]int{}, byPod: map[types.UID]int{}, open: map[string]*counted{}}
}

// limit returns a listener that closes what is over the bounds at once.
func (c *connections) limit(l net.Listener) net.Listener {
	return &limited{Listener: l, connections: c}
}

type limited struct {
	net.Listener
	connections *connections
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.connections.enter(conn); c != nil {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (c *connections) enter(conn net.Conn) *counted {
	from := host(conn.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= maxConnections || c.byHost[from] >= maxPerAddress {
		return nil
	}
	c.total++
	c.byHost[from]++
	out := &counted{Conn: conn, remote: conn.RemoteAddr().String(), from: from}
	out.leave = sync.OnceFunc(func() { c.leave(out) })
	c.open[out.remote] = out
	return out
}

// identified counts the connection from that address to its pod instead.
func (c *connections) identified(remote net.Addr, pod types.UID) {
	if remote == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[remote.String()]
	if conn == nil || conn.pod != "" || c.byPod[pod] >= maxPerPod {
		return
	}
	conn.pod = pod
	c.byPod[pod]++
	down(c.byHost, conn.from)
}

func (c *connections) leave(conn *counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.open[conn.remote] == conn {
		delete(c.open, conn.remote)
	}
	if conn.pod != "" {
		down(c.byPod, conn.pod)
	} else {
		down(c.byHost, conn.from)
	}
}

func down[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

type counted struct {
	net.Conn
	remote, from string
	pod          types.UID
	leave        func()
}

// Close implements net.Conn.
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
