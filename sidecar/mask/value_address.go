package mask

import (
	"encoding/hex"
	"net/netip"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (v *value) uuid(dst []byte) ([]byte, bool) {
	var id [16]byte
	if v.format == formatBinary {
		if len(v.src) != 16 {
			return nil, false
		}
		copy(id[:], v.src)
	} else {
		n := 0
		var digits [32]byte
		for _, c := range v.src {
			if c == '-' {
				continue
			}
			if n == len(digits) {
				return nil, false
			}
			digits[n] = c
			n++
		}
		if _, err := hex.Decode(id[:], digits[:]); err != nil || n != len(digits) {
			return nil, false
		}
	}
	switch v.method {
	case policy.MaskHash:
		copy(id[:], v.digest(hex.AppendEncode(v.buf[:0], id[:])))
		id[6] = id[6]&0x0F | 0x80 // version 8, RFC 9562 section 5.8
		id[8] = id[8]&0x3F | 0x80
	case policy.MaskPartial:
		clear(id[:14])
	default:
		clear(id[:])
	}
	if v.format == formatBinary {
		return append(dst, id[:]...), true
	}
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, true
}

// Binary inet (src/backend/utils/adt/network.c, network_send): family, bits, whether cidr, length, address.
const (
	inetFamily4 = 2
	inetFamily6 = 3
)

func (v *value) inet(dst []byte) ([]byte, bool) {
	address, family := netip.IPv4Unspecified(), byte(inetFamily4)
	if v.method == policy.MaskHash {
		canonical, ok := v.canonicalInet()
		if !ok {
			return nil, false
		}
		sum := v.digest(canonical)
		// 3fff::/20 is for documentation (RFC 9637): no host will be dialled by mistake.
		six := [16]byte{0x3F, 0xFF, 0, 0, 0, 0, 0, 0}
		copy(six[8:], sum[:8])
		address, family = netip.AddrFrom16(six), inetFamily6
	}
	if v.format == formatText {
		if v.typ == oidCIDR {
			return netip.PrefixFrom(address, address.BitLen()).AppendTo(dst), true
		}
		return address.AppendTo(dst), true
	}
	cidr := byte(0)
	if v.typ == oidCIDR {
		cidr = 1
	}
	raw := address.AsSlice()
	return append(append(dst, family, byte(address.BitLen()), cidr, byte(len(raw))), raw...), true
}

// canonicalInet is the address with its prefix length.
func (v *value) canonicalInet() ([]byte, bool) {
	if v.format == formatText {
		if p, err := netip.ParsePrefix(string(v.src)); err == nil {
			return p.AppendTo(v.buf[:0]), true
		}
		a, err := netip.ParseAddr(string(v.src))
		if err != nil {
			return nil, false
		}
		return netip.PrefixFrom(a, a.BitLen()).AppendTo(v.buf[:0]), true
	}
	if len(v.src) < 4 || len(v.src) != 4+int(v.src[3]) {
		return nil, false
	}
	a, ok := netip.AddrFromSlice(v.src[4:])
	if !ok || a.Is4() != (v.src[0] == inetFamily4) || a.Is6() != (v.src[0] == inetFamily6) || int(v.src[1]) > a.BitLen() {
		return nil, false
	}
	return netip.PrefixFrom(a, int(v.src[1])).AppendTo(v.buf[:0]), true
}
