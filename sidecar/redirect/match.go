package redirect

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Match is one condition of a rule, in nft's own words and as the kernel's expressions.
type Match interface {
	fmt.Stringer
	exprs() []expr.Any
}

// register is the one that every comparison here loads and compares.
const register = 1

func compare(value []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value}
}

// Owner matches packets of sockets that this uid opened. A packet without a socket has no owner.
type Owner uint32

func (o Owner) String() string { return fmt.Sprintf("meta skuid %d", uint32(o)) }

func (o Owner) exprs() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: register},
		compare(binaryutil.NativeEndian.PutUint32(uint32(o))),
	}
}

// OutLoopback matches packets that leave through the loopback interface.
type OutLoopback struct{}

func (OutLoopback) String() string { return `oifname "lo"` }

func (OutLoopback) exprs() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register},
		compare(name),
	}
}

// Transport matches tcp or udp.
type Transport string

func (t Transport) String() string { return "meta l4proto " + string(t) }

func (t Transport) exprs() []expr.Any {
	number := byte(unix.IPPROTO_TCP)
	if t == "udp" {
		number = unix.IPPROTO_UDP
	}
	return layer4(number)
}

func layer4(protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		compare([]byte{protocol}),
	}
}

// Port matches the destination port; it follows a Transport.
type Port uint16

func (p Port) String() string { return fmt.Sprintf("th dport %d", uint16(p)) }

func (p Port) exprs() []expr.Any {
	return []expr.Any{
		// TCP and UDP both keep the destination port in bytes 2 and 3.
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		compare(binaryutil.BigEndian.PutUint16(uint16(p))),
	}
}

// To4 matches an IPv4 destination, To6 an IPv6 one.
type (
	To4 netip.Prefix
	To6 netip.Prefix
)

func (d To4) String() string { return "ip daddr " + address(netip.Prefix(d)) }
func (d To6) String() string { return "ip6 daddr " + address(netip.Prefix(d)) }

func address(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// The destination address is at byte 16 of the IPv4 header (RFC 791) and byte 24 of the IPv6 header (RFC 8200).
func (d To4) exprs() []expr.Any { return inHeader(netip.Prefix(d), unix.NFPROTO_IPV4, 16) }
func (d To6) exprs() []expr.Any { return inHeader(netip.Prefix(d), unix.NFPROTO_IPV6, 24) }

// From4 matches an IPv4 source, From6 an IPv6 one.
type (
	From4 netip.Addr
	From6 netip.Addr
)

func (s From4) String() string { return "ip saddr " + netip.Addr(s).String() }
func (s From6) String() string { return "ip6 saddr " + netip.Addr(s).String() }

// The source address is at byte 12 of the IPv4 header and byte 8 of the IPv6 header.
func (s From4) exprs() []expr.Any {
	return inHeader(netip.PrefixFrom(netip.Addr(s), 32), unix.NFPROTO_IPV4, 12)
}

func (s From6) exprs() []expr.Any {
	return inHeader(netip.PrefixFrom(netip.Addr(s), 128), unix.NFPROTO_IPV6, 8)
}

func inHeader(p netip.Prefix, family byte, offset uint32) []expr.Any {
	addr := p.Masked().Addr().AsSlice()
	size := uint32(len(addr))
	out := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		compare([]byte{family}),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
	}
	if !p.IsSingleIP() {
		out = append(out, &expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: size,
			Mask: net.CIDRMask(p.Bits(), int(size)*8), Xor: make([]byte, size),
		})
	}
	return append(out, compare(addr))
}

// ICMPv6 matches an ICMPv6 type.
type ICMPv6 uint8

func (t ICMPv6) String() string { return fmt.Sprintf("icmpv6 type %d", uint8(t)) }

func (t ICMPv6) exprs() []expr.Any {
	return append(layer4(unix.IPPROTO_ICMPV6),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		compare([]byte{byte(t)}))
}

// Established matches connections that both ends have taken part in.
type Established struct{}

func (Established) String() string { return "ct state established" }

func (Established) exprs() []expr.Any { return conntrack(expr.CtKeySTATE, expr.CtStateBitESTABLISHED) }

// Translated matches connections whose destination was rewritten.
type Translated struct{}

func (Translated) String() string { return "ct status dnat" }

// ipsDstNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const ipsDstNAT = 1 << 5

func (Translated) exprs() []expr.Any { return conntrack(expr.CtKeySTATUS, ipsDstNAT) }

// conntrack matches when the key has the bit.
func conntrack(key expr.CtKey, bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
	}
}
