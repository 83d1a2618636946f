package mask

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Binary numeric (src/backend/utils/adt/numeric.c, numeric_send): four int16, digits, weight, sign and display
// scale, then digits to the base of 10,000.
const (
	numericHeader   = 8
	numericNegative = 0x4000
	numericSpecial  = 0x8000 // this bit is set for NaN and the infinities
	// longestNumeric bounds the decimal digits that are compared: weight goes up to 32767 groups of four.
	longestNumeric = 4 * 40000
)

// numericHash is how many decimal digits a hash has: three groups.
const numericHash = 1_0000_0000_0000

func (v *value) numeric(dst []byte) ([]byte, bool) {
	var masked uint64
	if v.method == policy.MaskHash {
		canonical, ok := v.src, true
		if v.format == formatBinary {
			canonical, ok = numericText(v.src)
		}
		if !ok {
			return nil, false
		}
		masked = v.number(trimNumeric(canonical)) % numericHash
	}
	if v.format == formatText {
		return strconv.AppendUint(dst, masked, 10), true
	}
	groups := []uint16{uint16(masked / 1_0000_0000), uint16(masked / 1_0000 % 1_0000), uint16(masked % 1_0000)}
	for len(groups) > 0 && groups[0] == 0 {
		groups = groups[1:]
	}
	weight := max(0, len(groups)-1)
	for len(groups) > 0 && groups[len(groups)-1] == 0 {
		groups = groups[:len(groups)-1]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(groups)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(weight))
	dst = append(dst, 0, 0, 0, 0)
	for _, g := range groups {
		dst = binary.BigEndian.AppendUint16(dst, g)
	}
	return dst, true
}

// numericText returns the decimal text of a binary numeric.
func numericText(src []byte) ([]byte, bool) {
	if len(src) < numericHeader {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(src))
	weight := int(int16(binary.BigEndian.Uint16(src[2:])))
	sign := binary.BigEndian.Uint16(src[4:])
	scale := int(binary.BigEndian.Uint16(src[6:]))
	if len(src) != numericHeader+2*n {
		return nil, false
	}
	if sign&numericSpecial != 0 {
		return strconv.AppendUint([]byte("special "), uint64(sign), 10), true
	}
	if 4*(weight+1)+scale > longestNumeric {
		return nil, false
	}
	var out []byte
	if sign&numericNegative != 0 {
		out = append(out, '-')
	}
	group := func(i int) []byte {
		d := uint16(0)
		if i >= 0 && i < n {
			d = binary.BigEndian.Uint16(src[numericHeader+2*i:])
		}
		return []byte{'0' + byte(d/1000%10), '0' + byte(d/100%10), '0' + byte(d/10%10), '0' + byte(d%10)}
	}
	for i := 0; i <= weight; i++ {
		out = append(out, group(i)...)
	}
	if weight < 0 {
		out = append(out, '0')
	}
	out = append(out, '.')
	for i := weight + 1; i < n || i <= weight+(scale+3)/4; i++ {
		out = append(out, group(i)...)
	}
	return out, true
}

// trimNumeric removes what does not change a number: zeros before and behind it, and the sign of zero.
func trimNumeric(text []byte) []byte {
	negative := bytes.HasPrefix(text, []byte("-"))
	text = bytes.TrimPrefix(text, []byte("-"))
	if bytes.IndexByte(text, '.') >= 0 {
		text = bytes.TrimRight(bytes.TrimRight(text, "0"), ".")
	}
	text = bytes.TrimLeft(text, "0")
	if len(text) == 0 {
		return []byte("0")
	}
	if negative {
		return append([]byte("-"), text...)
	}
	return text
}
