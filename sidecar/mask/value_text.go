package mask

import (
	"encoding/hex"
	"math"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

const (
	// stars is how many Redact writes, so that a value's length does not show.
	stars = 8
	// modifierHeader is what the type modifier of varchar(n) and char(n) has on top of n (VARHDRSZ).
	modifierHeader = 4
	// revealed is what Partial shows of a value, at most.
	revealed = 4
)

// shown is how many of n characters Partial shows.
func shown(n int) int { return min(revealed, n/2) }

func (v *value) text(dst []byte) []byte {
	switch v.method {
	case policy.MaskHash:
		src := v.src
		if v.typ == oidBpchar { // its padding is not part of the value
			for len(src) > 0 && src[len(src)-1] == ' ' {
				src = src[:len(src)-1]
			}
		}
		start := len(dst)
		dst = v.hex(dst, src)
		return dst[:min(len(dst), start+v.width())]
	case policy.MaskPartial:
		return partial(dst, v.src)
	}
	for n := min(stars, v.width()); n > 0; n-- {
		dst = append(dst, '*')
	}
	return dst
}

// width is how many characters the type takes.
func (v *value) width() int {
	if (v.typ == oidVarchar || v.typ == oidBpchar) && v.typmod > modifierHeader {
		return int(v.typmod - modifierHeader)
	}
	return math.MaxInt32
}

// partial keeps the last characters, and spaces and dashes so that groups can be told.
func partial(dst, src []byte) []byte {
	hide := 0
	if isASCII(src) { // which takes a tenth of the time
		for _, c := range src {
			if c != ' ' && c != '-' {
				hide++
			}
		}
		hide -= shown(hide)
		dst = append(dst, src...)
		for i := len(dst) - len(src); hide > 0; i++ {
			if c := dst[i]; c != ' ' && c != '-' {
				dst[i] = '*'
				hide--
			}
		}
		return dst
	}
	for _, c := range string(src) {
		if c != ' ' && c != '-' {
			hide++
		}
	}
	hide -= shown(hide)
	for i := 0; i < len(src); {
		_, n := utf8.DecodeRune(src[i:])
		if separator := src[i] == ' ' || src[i] == '-'; hide > 0 && !separator {
			dst = append(dst, '*')
			hide--
		} else {
			dst = append(dst, src[i:i+n]...)
		}
		i += n
	}
	return dst
}

func isASCII(p []byte) bool {
	var all byte
	for _, c := range p {
		all |= c
	}
	return all < utf8.RuneSelf
}

func (v *value) json(dst []byte) []byte {
	src := v.src
	if v.typ == oidJSONB && v.format == formatBinary {
		dst = append(dst, 1) // the only version of jsonb_send
		src = src[min(1, len(src)):]
	}
	dst = append(dst, '"')
	if v.method == policy.MaskHash {
		dst = v.hex(dst, src)
	} else {
		dst = append(dst, "********"...)
	}
	return append(dst, '"')
}

// bytea reads and writes the hex format (bytea_output's default); the older escape format is read as text.
func (v *value) bytea(dst []byte) ([]byte, bool) {
	src := v.src
	if v.format == formatText && len(src) >= 2 && src[0] == '\\' && src[1] == 'x' {
		raw, err := hex.DecodeString(string(src[2:]))
		if err != nil {
			return nil, false
		}
		src = raw
	}
	var out []byte
	switch v.method {
	case policy.MaskHash:
		out = append(v.buf[:0], v.digest(src)[:8]...)
	case policy.MaskPartial:
		out = append(v.buf[:0], src[len(src)-shown(len(src)):]...)
	default:
		out = v.buf[:0]
		for range stars {
			out = append(out, '*')
		}
	}
	if v.format == formatBinary {
		return append(dst, out...), true
	}
	return hex.AppendEncode(append(dst, '\\', 'x'), out), true
}
