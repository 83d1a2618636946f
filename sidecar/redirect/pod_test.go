package redirect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/original"
)

const (
	agentUID   = 10001
	sidecarUID = 20001
)

// silence is how long a test waits for what must not happen.
const silence = 300 * time.Millisecond

func TestMain(m *testing.M) { netlab.Main(m, nil) }

// pod is a lab with the rules in force.
func pod(t *testing.T, nameservers ...netip.Addr) *netlab.Lab {
	t.Helper()
	lab := netlab.New(t)
	table, err := New(Config{UID: sidecarUID, Nameservers: nameservers})
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(table); err != nil {
		t.Fatal(err)
	}
	lab.Left()
	return lab
}

func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// dial connects as the uid.
func dial(uid uint32, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := netlab.As(uid, func() (err error) {
		conn, err = (&net.Dialer{Timeout: silence}).Dial(network, address)
		return err
	})
	return conn, err
}

// listen serves f on every connection to the address, from the pod as the uid.
func listen(t *testing.T, uid uint32, address string, f func(*net.TCPConn)) {
	t.Helper()
	if err := netlab.As(uid, func() error { return serve(t, address, f) }); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, address string, f func(*net.TCPConn)) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			}()
		}
	}()
	return nil
}

// proxies listen where the sidecar would and answer each connection with where it was going.
func proxies(t *testing.T) {
	t.Helper()
	for _, port := range []uint16{layout.ProxyPort, layout.DNSPort} {
		for _, f := range families {
			listen(t, sidecarUID, at(f.loopback, port), func(c *net.TCPConn) {
				dst, err := original.Destination(c)
				fmt.Fprintf(c, "%d %v %v", port, dst, err)
			})
		}
	}
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("reading: %v", err)
	}
	return string(b)
}

// nothingLeft fails the test when a packet came out of the pod. TCP counts when it opens a connection: the ends of
// connections that earlier tests closed come out whenever the kernel sends them again.
func nothingLeft(t *testing.T, lab *netlab.Lab) {
	t.Helper()
	for _, p := range lab.Left() {
		if p.Protocol == unix.IPPROTO_TCP && !p.Opens {
			continue
		}
		t.Errorf("left the pod: %s", p)
	}
}

// mustProve is a check on the lab itself as much as on the rules.
func mustProve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	proved, err := Prove(ctx)
	if err != nil || len(proved) != 2 {
		t.Fatalf("Prove: %v, %v", proved, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
