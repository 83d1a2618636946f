package redirect

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

// IPV6_FREEBIND needs no privilege, and IPv6 sends from whatever address a socket is bound to: over loopback, an agent
// could give a nameserver's answer before the nameserver does.
func TestNobodyInThePodSpeaksForANameserver(t *testing.T) {
	for name, ns := range map[string]netip.Addr{"IPv4": netlab.Host4, "IPv6": netlab.Host6} {
		t.Run(name, func(t *testing.T) {
			pod(t, ns)
			family, own, freebind := "udp4", netlab.Pod4, func(fd int) error {
				return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
			}
			if ns.Is6() {
				family, own, freebind = "udp6", netlab.Pod6, func(fd int) error {
					return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
				}
			}
			var asking *net.UDPConn
			if err := netlab.As(sidecarUID, func() (err error) {
				asking, err = net.DialUDP(family, net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(ns, 5300)))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer asking.Close()
			if _, err := asking.Write([]byte("who is it?")); err != nil {
				t.Fatal(err)
			}
			if err := netlab.As(agentUID, func() error {
				forger := net.Dialer{
					LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(ns, 5300)),
					Control: func(_, _ string, c syscall.RawConn) (err error) {
						return c.Control(func(fd uintptr) { err = freebind(int(fd)) })
					},
				}
				conn, err := forger.Dial(family, asking.LocalAddr().String())
				if err != nil {
					return nil // as good as dropped
				}
				defer conn.Close()
				_, _ = conn.Write([]byte("it is me"))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			_ = asking.SetReadDeadline(time.Now().Add(silence))
			b := make([]byte, 16)
			for range 3 { // a refusal by the host itself may come first
				if n, err := asking.Read(b); err == nil {
					t.Errorf("the sidecar took %q for the nameserver's answer", b[:n])
				}
			}
		})
	}
}
