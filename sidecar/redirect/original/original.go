// Package original reads where a redirected connection was going before the pod's rules sent it to the sidecar.
package original

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Destination gives the address that the other end dialled, from conntrack (SO_ORIGINAL_DST of
// linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h; both are 80). For a connection
// that nothing translated it is the listener's own address.
func Destination(conn syscall.Conn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var out netip.AddrPort
	var inner error
	if err := raw.Control(func(fd uintptr) { out, inner = lookup(int(fd)) }); err != nil {
		return netip.AddrPort{}, err
	}
	if inner != nil {
		return netip.AddrPort{}, fmt.Errorf("asking conntrack for the original destination: %w", inner)
	}
	return out, nil
}

func lookup(fd int) (netip.AddrPort, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch domain {
	case unix.AF_INET:
		// The answer is a sockaddr_in of 16 bytes; IPv6Mreq is a buffer of 20 that x/sys reads into.
		b, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			return netip.AddrPort{}, err
		}
		a := b.Multiaddr
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), uint16(a[2])<<8|uint16(a[3])), nil
	case unix.AF_INET6:
		b, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
		if err != nil {
			return netip.AddrPort{}, err
		}
		// sin6_port is in network order whatever the machine's is.
		port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, b.Addr.Port))
		return netip.AddrPortFrom(netip.AddrFrom16(b.Addr.Addr), port), nil
	}
	return netip.AddrPort{}, fmt.Errorf("socket of address family %d: %w", domain, net.UnknownNetworkError("not IP"))
}
