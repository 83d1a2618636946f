package mask

import (
	"bytes"
	"encoding/binary"
	"slices"
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

// numericHash is how many decimal digits a hash has at most: three groups.
const numericHash = 12

func (v *value) numeric(dst []byte) ([]byte, bool) {
	var masked uint64
	scale := 0
	if v.method == policy.MaskHash {
		canonical, ok := v.src, true
		if v.format == formatBinary {
			canonical, ok = numericText(v.src)
		}
		if !ok {
			return nil, false
		}
		var most uint64
		most, scale = v.numericRange()
		masked = v.number(trimNumeric(canonical)) % most
	}
	if v.format == formatText {
		return appendDecimal(dst, masked, scale), true
	}
	return appendNumeric(dst, masked, scale), true
}

// numericRange bounds the hashes of a type: below most, and with so many digits behind the point (negative: zeros before
// it) that they fit its precision and scale. They are whole where the type has room for it. The modifier is the precision
// and, in 11 bits with a sign, the scale (src/backend/utils/adt/numeric.c, make_numeric_typmod).
func (v *value) numericRange() (most uint64, scale int) {
	digits := numericHash
	if v.typmod >= modifierHeader {
		modifier := v.typmod - modifierHeader
		precision := int(modifier >> 16)
		declared := int(modifier&0x7FF^0x400) - 0x400
		digits = min(digits, precision)
		scale = max(digits-(precision-declared), min(declared, 0))
	}
	most = 1
	for range digits {
		most *= 10
	}
	return most, scale
}

// appendDecimal appends unscaled / 10^scale as text.
func appendDecimal(dst []byte, unscaled uint64, scale int) []byte {
	var buf [20]byte
	digits := strconv.AppendUint(buf[:0], unscaled, 10)
	if scale <= 0 {
		dst = append(dst, digits...)
		for ; scale < 0 && unscaled != 0; scale++ {
			dst = append(dst, '0')
		}
		return dst
	}
	whole := max(0, len(digits)-scale)
	if whole == 0 {
		dst = append(dst, '0')
	}
	dst = append(append(dst, digits[:whole]...), '.')
	for range scale - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits[whole:]...)
}

// appendNumeric is appendDecimal in binary; unscaled has numericHash digits at most.
func appendNumeric(dst []byte, unscaled uint64, scale int) []byte {
	behind := (scale + 3) >> 2 // groups behind the point, rounded up
	for range 4*behind - scale {
		unscaled *= 10
	}
	var buf [4]uint16
	groups := buf[:0]
	for ; unscaled > 0; unscaled /= 1_0000 {
		groups = append(groups, uint16(unscaled%1_0000))
	}
	slices.Reverse(groups)
	weight := 0
	if len(groups) > 0 {
		weight = len(groups) - 1 - behind
	}
	for len(groups) > 0 && groups[len(groups)-1] == 0 {
		groups = groups[:len(groups)-1]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(groups)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(weight)))
	dst = binary.BigEndian.AppendUint16(dst, 0) // positive
	dst = binary.BigEndian.AppendUint16(dst, uint16(max(0, scale)))
	for _, g := range groups {
		dst = binary.BigEndian.AppendUint16(dst, g)
	}
	return dst
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
		switch sign {
		case 0xC000:
			return []byte("NaN"), true
		case 0xD000:
			return []byte("Infinity"), true
		case 0xF000:
			return []byte("-Infinity"), true
		}
		return nil, false
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
