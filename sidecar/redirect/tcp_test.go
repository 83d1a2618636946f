package redirect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

func TestAgentConnectionsArriveAtTheSidecarWithTheirDestination(t *testing.T) {
	lab := pod(t)
	proxies(t)
	for name, c := range map[string]struct{ network, address, want string }{
		"IPv4":                    {"tcp", at(netlab.Host4, 5432), "15001 198.51.100.10:5432 <nil>"},
		"IPv6":                    {"tcp", at(netlab.Host6, 5432), "15001 [2001:db8:1::10]:5432 <nil>"},
		"the node":                {"tcp", at(netlab.Node4, 10250), "15001 10.77.0.1:10250 <nil>"},
		"IPv4 metadata":           {"tcp", at(netlab.Metadata4, 80), "15001 169.254.169.254:80 <nil>"},
		"IPv6 metadata":           {"tcp", at(netlab.Metadata6, 80), "15001 [fd00:ec2::254]:80 <nil>"},
		"DNS over TCP":            {"tcp", at(netlab.Host4, 53), "15053 198.51.100.10:53 <nil>"},
		"DNS over TCP and IPv6":   {"tcp", at(netlab.Host6, 53), "15053 [2001:db8:1::10]:53 <nil>"},
		"the listener itself":     {"tcp", "127.0.0.1:15001", "15001 127.0.0.1:15001 <nil>"},
		"the listener over IPv6":  {"tcp", "[::1]:15001", "15001 [::1]:15001 <nil>"},
		"an address nobody holds": {"tcp", "192.0.2.77:1", "15001 192.0.2.77:1 <nil>"},
	} {
		for who, uid := range map[string]uint32{"an agent": agentUID, "root": 0} {
			t.Run(name+" as "+who, func(t *testing.T) {
				conn, err := dial(uid, c.network, c.address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if got := read(t, conn); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		}
	}
	nothingLeft(t, lab)
}

func TestSocketsWithTricksAreRedirectedToo(t *testing.T) {
	lab := pod(t)
	proxies(t)
	mark := func(v int) func(fd int) error {
		return func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, v) }
	}
	for name, c := range map[string]struct {
		family, protocol int
		option           func(fd int) error
		to               unix.Sockaddr
	}{
		"SO_MARK 1":                    {unix.AF_INET, unix.IPPROTO_TCP, mark(1), &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"SO_MARK 1337":                 {unix.AF_INET, unix.IPPROTO_TCP, mark(1337), &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"SO_MARK of our uid":           {unix.AF_INET, unix.IPPROTO_TCP, mark(sidecarUID), &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"MPTCP":                        {unix.AF_INET, unix.IPPROTO_MPTCP, nil, &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"an IPv4-mapped IPv6 address":  {unix.AF_INET6, unix.IPPROTO_TCP, nil, &unix.SockaddrInet6{Port: 443, Addr: netlab.Host4.As16()}},
		"SO_BINDTODEVICE of the link":  {unix.AF_INET, unix.IPPROTO_TCP, func(fd int) error { return unix.BindToDevice(fd, "pod0") }, &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"a source port of 53":          {unix.AF_INET, unix.IPPROTO_TCP, func(fd int) error { return unix.Bind(fd, &unix.SockaddrInet4{Port: 53}) }, &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"IP_TRANSPARENT":               {unix.AF_INET, unix.IPPROTO_TCP, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1) }, &unix.SockaddrInet4{Port: 443, Addr: netlab.Host4.As4()}},
		"SO_DONTROUTE to the own link": {unix.AF_INET, unix.IPPROTO_TCP, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DONTROUTE, 1) }, &unix.SockaddrInet4{Port: 443, Addr: netlab.Node4.As4()}},
	} {
		t.Run(name, func(t *testing.T) {
			fd, err := unix.Socket(c.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, c.protocol)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			tv := unix.NsecToTimeval(silence.Nanoseconds())
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
			if c.option != nil {
				if err := c.option(fd); err != nil {
					t.Fatal(err)
				}
			}
			// Held is either: the sidecar has it, or it went nowhere. Nothing may leave the pod.
			if err := unix.Connect(fd, c.to); err == nil {
				buf := make([]byte, 64)
				n, _ := unix.Read(fd, buf)
				if !bytes.HasPrefix(buf[:n], []byte("15001 ")) {
					t.Errorf("connected to something that said %q", buf[:n])
				}
			} else {
				t.Logf("connect: %v", err)
			}
		})
	}
	nothingLeft(t, lab)
}

func TestWithoutSidecarConnectionsAreRefusedAndNothingLeaves(t *testing.T) {
	lab := pod(t)
	for _, address := range []string{at(netlab.Host4, 443), at(netlab.Host6, 443), at(netlab.Host4, 53)} {
		if _, err := dial(agentUID, "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want connection refused", address, err)
		}
	}
	nothingLeft(t, lab)
}

func TestTheSidecarReachesTheOutside(t *testing.T) {
	lab := pod(t)
	lab.Outside(t, func() error {
		for _, a := range []string{at(netlab.Host4, 5432), at(netlab.Host6, 5432)} {
			if err := serve(t, a, func(c *net.TCPConn) { fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP) }); err != nil {
				return err
			}
		}
		return nil
	})
	for address, want := range map[string]string{
		at(netlab.Host4, 5432): netlab.Pod4.String(), at(netlab.Host6, 5432): netlab.Pod6.String(),
	} {
		conn, err := dial(sidecarUID, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, conn); got != want {
			t.Errorf("%s saw %q", address, got)
		}
		conn.Close()
	}
}

// A closed socket that still has bytes to send has no owner: the packets must leave all the same.
func TestWhatTheSidecarWroteBeforeClosingArrives(t *testing.T) {
	lab := pod(t)
	const size = 4 << 20
	got := make(chan int, 1)
	lab.Outside(t, func() error {
		return serve(t, at(netlab.Host4, 5432), func(c *net.TCPConn) {
			time.Sleep(silence)
			n, _ := io.Copy(io.Discard, c)
			got <- int(n)
		})
	})
	conn, err := dial(sidecarUID, "tcp", at(netlab.Host4, 5432))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetWriteBuffer(8 << 20)
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case n := <-got:
		if n != size {
			t.Errorf("%d bytes arrived of %d", n, size)
		}
	case <-time.After(10 * time.Second):
		t.Error("the end of the connection never arrived")
	}
}

func TestAgentsAnswerConnectionsFromOutside(t *testing.T) {
	lab := pod(t)
	for _, a := range []string{at(netlab.Pod4, 8080), at(netlab.Pod6, 8080)} {
		listen(t, agentUID, a, func(c *net.TCPConn) { fmt.Fprint(c, "alive") })
		lab.Outside(t, func() error {
			conn, err := net.DialTimeout("tcp", a, time.Second)
			if err != nil {
				return err
			}
			defer conn.Close()
			if got := read(t, conn); got != "alive" {
				t.Errorf("%s answered %q", a, got)
			}
			// A closed port says so, as a probe expects.
			if _, err := net.DialTimeout("tcp", at(netlab.Pod4, 8081), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a closed port: %v", err)
			}
			return nil
		})
	}
}

func TestMetadataAddressesAreClosedToTheSidecarToo(t *testing.T) {
	lab := pod(t, netlab.Resolver4)
	lab.Outside(t, func() error {
		for _, a := range []string{at(netlab.Metadata4, 80), at(netlab.Metadata6, 80), at(netlab.Metadata4, 53), at(netlab.Resolver4, 80), at(netlab.Resolver4, 53)} {
			if err := serve(t, a, func(c *net.TCPConn) { fmt.Fprint(c, "here") }); err != nil {
				return err
			}
		}
		return nil
	})
	for _, address := range []string{at(netlab.Metadata4, 80), at(netlab.Metadata6, 80), at(netlab.Metadata4, 53), at(netlab.Resolver4, 80)} {
		if conn, err := dial(sidecarUID, "tcp", address); err == nil {
			t.Errorf("%s answered %q", address, read(t, conn))
		} else if !isTimeout(err) && !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", address, err)
		}
	}
	nothingLeft(t, lab)
	conn, err := dial(sidecarUID, "tcp", at(netlab.Resolver4, 53))
	if err != nil {
		t.Fatalf("the noted link-local nameserver: %v", err)
	}
	defer conn.Close()
	if got := read(t, conn); got != "here" {
		t.Errorf("the nameserver said %q", got)
	}
}

func TestApplyingAgainLeavesNoGap(t *testing.T) {
	lab := pod(t)
	proxies(t)
	ctx, cancel := context.WithCancel(context.Background())
	trying := make(chan struct{})
	go func() {
		defer close(trying)
		for ctx.Err() == nil {
			// A connection that falls into the exchange may be lost; what counts is that nothing of it leaves.
			if conn, err := dial(agentUID, "tcp", at(netlab.Host4, 443)); err == nil {
				conn.Close()
			}
			if udp, err := dial(agentUID, "udp", at(netlab.Host4, 443)); err == nil {
				_, _ = udp.Write([]byte("x"))
				udp.Close()
			}
		}
	}()
	table, _ := New(Config{UID: sidecarUID})
	for range 100 {
		if err := Apply(table); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-trying
	conn, err := dial(agentUID, "tcp", at(netlab.Host4, 443))
	if err != nil {
		t.Fatalf("after the exchanges: %v", err)
	}
	conn.Close()
	nothingLeft(t, lab)
}
