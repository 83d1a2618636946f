package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Packet is one that left the pod.
type Packet struct {
	Protocol    int // IPPROTO_*
	Destination netip.AddrPort
	ICMPType    int  // for ICMP and ICMPv6
	Opens       bool // a TCP SYN without ACK
}

func (p Packet) String() string {
	return fmt.Sprintf("protocol %d to %s (ICMP type %d)", p.Protocol, p.Destination, p.ICMPType)
}

func native(v int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// sniff opens the sniffer in the namespace of the calling thread. SOCK_DGRAM leaves the link header out.
func (l *Lab) sniff() error {
	all := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	l.sniffer = fd
	index, err := linkIndex(outsideLink)
	if err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: index})
}

// Left gives the IP packets that came out of the pod since it was asked last, without neighbour discovery and
// multicast listener reports. It waits until the link has been silent for a moment.
func (l *Lab) Left() []Packet {
	var out []Packet
	buf := make([]byte, 2048)
	for quiet := time.Now().Add(50 * time.Millisecond); time.Now().Before(quiet); {
		n, from, err := unix.Recvfrom(l.sniffer, buf, 0)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if p, ok := parse(buf[:n]); ok {
			out = append(out, p)
			quiet = time.Now().Add(50 * time.Millisecond)
		}
	}
	return out
}

func parse(b []byte) (Packet, bool) {
	var p Packet
	var dst netip.Addr
	var payload []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		p.Protocol = int(b[9])
		dst = netip.AddrFrom4([4]byte(b[16:20]))
		payload = b[min(len(b), int(b[0]&15)*4):]
	case len(b) >= 40 && b[0]>>4 == 6:
		p.Protocol = int(b[6])
		dst = netip.AddrFrom16([16]byte(b[24:40]))
		payload = b[40:]
		// Multicast listener reports carry a router alert before the ICMPv6 header (RFC 3810 5).
		if p.Protocol == unix.IPPROTO_HOPOPTS && len(payload) >= 8 {
			p.Protocol, payload = int(payload[0]), payload[8:]
		}
	default:
		return p, false
	}
	var port uint16
	switch {
	case len(payload) == 0:
	case p.Protocol == unix.IPPROTO_ICMP, p.Protocol == unix.IPPROTO_ICMPV6:
		p.ICMPType = int(payload[0])
		switch {
		case p.Protocol == unix.IPPROTO_ICMPV6 && (p.ICMPType >= 133 && p.ICMPType <= 136 || p.ICMPType == 143):
			return p, false
		}
	case len(payload) >= 4:
		port = binary.BigEndian.Uint16(payload[2:])
		p.Opens = p.Protocol == unix.IPPROTO_TCP && len(payload) > 13 && payload[13]&0x12 == 0x02
	}
	p.Destination = netip.AddrPortFrom(dst, port)
	return p, true
}
