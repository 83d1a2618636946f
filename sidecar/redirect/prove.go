package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/original"
)

// family is one address family and what to try in it: addresses that are never assigned to a host.
type family struct {
	name     string
	loopback netip.Addr
	outside  netip.Addr
}

var families = []family{
	{"IPv4", netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}, // TEST-NET-1, RFC 5737
	{"IPv6", netip.IPv6Loopback(), netip.MustParseAddr("2001:db8::1")},           // RFC 3849
}

// proofPort is any port that is neither 53 nor the sidecar's; 9 is discard (RFC 863).
const proofPort = 9

// proofTimeout bounds one attempt. Everything happens inside the kernel of this machine.
const proofTimeout = 2 * time.Second

// Prove checks from the calling process, whose uid must not be the sidecar's, that the rules do what they are
// for: TCP arrives on the proxy's port with its destination known, DNS arrives on the resolver's, other UDP does
// not leave. It returns the families proved. A family without a route out of the pod is not there; no family at
// all is an error, because then nothing was proved.
func Prove(ctx context.Context) ([]string, error) {
	var proved []string
	for _, f := range families {
		if !f.routed() {
			continue
		}
		for _, step := range []func(context.Context) error{f.tcp, f.dns, f.udp} {
			if err := step(ctx); err != nil {
				return proved, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		proved = append(proved, f.name)
	}
	if len(proved) == 0 {
		return nil, errors.New("the pod has no route out in IPv4 or IPv6, so that the redirect could not be proved")
	}
	return proved, nil
}

// routed asks the kernel's routing alone: connecting a UDP socket sends nothing.
func (f family) routed() bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.outside, proofPort)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// tcp dials an address that nobody has and expects to meet itself.
func (f family) tcp(ctx context.Context) error {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.loopback, layout.ProxyPort)))
	if err != nil {
		return fmt.Errorf("listening where connections will be redirected to: %w", err)
	}
	defer listener.Close()
	want := netip.AddrPortFrom(f.outside, proofPort)
	dialer := net.Dialer{Timeout: proofTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", want.String())
	if err != nil {
		return fmt.Errorf("a TCP connection to %s was not redirected to the sidecar's port: %w", want, err)
	}
	defer conn.Close()
	_ = listener.SetDeadline(time.Now().Add(proofTimeout))
	accepted, err := listener.AcceptTCP()
	if err != nil {
		return fmt.Errorf("a TCP connection to %s went somewhere else than the sidecar's port: %w", want, err)
	}
	defer accepted.Close()
	got, err := original.Destination(accepted)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("a TCP connection to %s arrived as one to %s", want, got)
	}
	return nil
}

// dns sends a datagram to port 53 of nobody and expects to receive it.
func (f family) dns(context.Context) error {
	listener, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.loopback, layout.DNSPort)))
	if err != nil {
		return fmt.Errorf("listening where DNS will be redirected to: %w", err)
	}
	defer listener.Close()
	if err := f.send(53); err != nil {
		return fmt.Errorf("sending a DNS datagram: %w", err)
	}
	_ = listener.SetReadDeadline(time.Now().Add(proofTimeout))
	if _, _, err := listener.ReadFromUDPAddrPort(make([]byte, 16)); err != nil {
		return fmt.Errorf("a DNS datagram to %s was not redirected to the sidecar's resolver: %w", f.outside, err)
	}
	return nil
}

// udp expects the kernel to refuse a datagram that is not DNS.
func (f family) udp(context.Context) error {
	err := f.send(proofPort)
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("a UDP datagram to %s port %d left the pod", f.outside, proofPort)
	}
	return fmt.Errorf("a UDP datagram to %s port %d was not refused by the rules but by something else: %w", f.outside, proofPort, err)
}

func (f family) send(port uint16) error {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.outside, port)))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("proof"))
	var call syscall.Errno
	if errors.As(err, &call) {
		return call
	}
	return err
}
