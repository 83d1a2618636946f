package redirect

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

func TestDatagramsDoNotLeave(t *testing.T) {
	lab := pod(t)
	for _, address := range []string{
		at(netlab.Host4, 443), at(netlab.Host6, 443), at(netlab.Node4, 8125), at(netlab.Metadata4, 80), at(netlab.Host4, 5353),
	} {
		for _, uid := range []uint32{agentUID, 0} {
			conn, err := dial(uid, "udp", address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("out")); !errors.Is(err, unix.EPERM) {
				t.Errorf("uid %d to %s: %v, want EPERM", uid, address, err)
			}
			conn.Close()
		}
	}
	nothingLeft(t, lab)
}

func TestDNSDatagramsReachTheSidecarsResolverWhoeverTheyAreFor(t *testing.T) {
	lab := pod(t, netlab.Host4, netlab.Host6)
	for _, f := range families {
		var server net.PacketConn
		if err := netlab.As(sidecarUID, func() (err error) {
			server, err = net.ListenPacket("udp", at(f.loopback, layout.DNSPort))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		go func() {
			b := make([]byte, 64)
			for {
				n, from, err := server.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = server.WriteTo(append([]byte("re: "), b[:n]...), from)
			}
		}()
	}
	for _, address := range []string{at(netlab.Host4, 53), at(netlab.Other4, 53), at(netlab.Host6, 53), at(netlab.Metadata4, 53)} {
		conn, err := dial(agentUID, "udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("tunnel")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 64)
		// The answer comes from the address that was asked, or a connected socket would not take it.
		if n, err := conn.Read(b); err != nil || string(b[:n]) != "re: tunnel" {
			t.Errorf("%s: %q, %v", address, b[:n], err)
		}
	}
	nothingLeft(t, lab)
}

func TestAnsweringADatagramFromOutsideCarriesNothingOut(t *testing.T) {
	lab := pod(t)
	for pod, node := range map[string]string{at(netlab.Pod4, 9000): at(netlab.Node4, 9001), at(netlab.Pod6, 9000): at(netlab.Node6, 9001)} {
		var server net.PacketConn
		if err := netlab.As(agentUID, func() (err error) {
			server, err = net.ListenPacket("udp", pod)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		lab.Outside(t, func() error {
			local, err := net.ResolveUDPAddr("udp", node)
			if err != nil {
				return err
			}
			remote, err := net.ResolveUDPAddr("udp", pod)
			if err != nil {
				return err
			}
			conn, err := net.DialUDP("udp", local, remote)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("give"))
			return err
		})
		b := make([]byte, 16)
		_ = server.SetDeadline(time.Now().Add(2 * time.Second))
		n, from, err := server.ReadFrom(b)
		if err != nil || string(b[:n]) != "give" {
			t.Fatalf("the datagram did not come in: %q, %v", b[:n], err)
		}
		if _, err := server.WriteTo([]byte("secret"), from); !errors.Is(err, unix.EPERM) {
			t.Errorf("answering: %v, want EPERM", err)
		}
	}
	nothingLeft(t, lab)
}

// Raw sockets need NET_RAW, which agents do not keep; the rules hold even where they had it.
func TestOtherProtocolsDoNotLeave(t *testing.T) {
	lab := pod(t)
	for name, c := range map[string]struct{ family, kind, protocol int }{
		"ICMP echo":   {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"ICMPv6 echo": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		"SCTP":        {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_SCTP},
		"SCTP (IPv6)": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_SCTP},
		"UDP-Lite":    {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDPLITE},
		"GRE":         {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_GRE},
		"IP in IP":    {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_IPIP},
		"253":         {unix.AF_INET, unix.SOCK_RAW, 253}, // experimental, RFC 3692
	} {
		t.Run(name, func(t *testing.T) {
			fd, err := unix.Socket(c.family, c.kind|unix.SOCK_CLOEXEC, c.protocol)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			var to unix.Sockaddr = &unix.SockaddrInet4{Addr: netlab.Host4.As4()}
			packet := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // ICMP echo request
			if c.family == unix.AF_INET6 {
				to = &unix.SockaddrInet6{Addr: netlab.Host6.As16()}
				packet[0] = 128
			}
			if err := unix.Sendto(fd, packet, 0, to); !errors.Is(err, unix.EPERM) {
				t.Errorf("%v, want EPERM", err)
			}
		})
	}
	nothingLeft(t, lab)
}

func TestTheLabSeesWhatLeavesWithoutRules(t *testing.T) {
	lab := netlab.New(t)
	if err := Apply(Table{Name: TableName}); err != nil {
		t.Fatal(err)
	}
	lab.Left()
	conn, err := dial(agentUID, "udp", at(netlab.Host4, 443))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("out")); err != nil {
		t.Fatal(err)
	}
	if left := lab.Left(); len(left) != 1 || left[0].Destination.String() != at(netlab.Host4, 443) {
		t.Errorf("the lab saw %v", left)
	}
}
