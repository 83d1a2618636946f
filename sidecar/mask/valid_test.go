package mask

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// fuzzedTypes are the types that are fuzzed; the others are all masked as NULL.
var fuzzedTypes = [...]uint32{
	oidText, oidVarchar, oidBpchar, oidName, oidUnknown, oidChar, oidJSON, oidJSONB, oidBytea, oidInt2, oidInt4, oidInt8, oidOID,
	oidFloat4, oidFloat8, oidNumeric, oidDate, oidTimestamp, oidTimestampTZ, oidUUID, oidBool, oidInet, oidCIDR,
	oidTime, oidTimeTZ, oidInterval, oidBit, oidVarbit, 1009, 16999,
}

// FuzzValueStaysValid masks values by every method and wants what comes out to be a value of the declared type, its
// modifier counted, and the same for all values where nothing of them is to show.
func FuzzValueStaysValid(f *testing.F) {
	add := func(typ uint32, typmod int32, format int16, src []byte) {
		for i, k := range fuzzedTypes {
			if k == typ {
				f.Add(uint8(i), typmod, format, src, []byte("another"))
			}
		}
	}
	add(oidNumeric, -1, 1, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 12})
	add(oidNumeric, 5<<16|2+modifierHeader, 0, []byte("123.45"))
	add(oidNumeric, 4<<16|(-2&0x7FF)+modifierHeader, 1, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 12})
	add(oidVarchar, 3+modifierHeader, 0, []byte("äöü"))
	add(oidBpchar, 1+modifierHeader, 1, []byte("x"))
	add(oidInet, -1, 1, []byte{2, 32, 0, 4, 10, 1, 2, 3})
	add(oidTimestamp, 0, 0, []byte("2024-01-01 10:00:00"))
	add(oidTimestampTZ, 3, 1, []byte{0, 0, 0, 0, 0, 0x16, 0xe3, 0x60})
	add(oidInterval, 4<<16|0xFFFF, 1, make([]byte, 16)) // interval year
	add(oidBit, 8, 1, []byte{0, 0, 0, 8, 0xAA})
	f.Fuzz(func(t *testing.T, kind uint8, typmod int32, format int16, src, other []byte) {
		typ := fuzzedTypes[int(kind)%len(fuzzedTypes)]
		format &= 1
		for _, method := range [...]policy.Method{policy.MaskRedact, policy.MaskPartial, policy.MaskHash, policy.MaskNull} {
			masked := func(src []byte) ([]byte, bool) {
				out, null, err := NewMasker(testKey).Append([]byte("before"), method, typ, typmod, format, src)
				if err != nil || !bytes.HasPrefix(out, []byte("before")) || null && len(out) != len("before") {
					t.Fatalf("%s of type %d: %q became %q, %v", method, typ, src, out, err)
				}
				return out[len("before"):], null
			}
			out, null := masked(src)
			if null {
				continue
			}
			if why := unfit(typ, typmod, format, src, out); why != "" {
				t.Fatalf("%s of type %d(%d), format %d: %q became %q: %s", method, typ, typmod, format, src, out, why)
			}
			if again, null := masked(out); null {
				t.Fatalf("%s of type %d: %q became %q, which is no value: %q", method, typ, src, out, again)
			}
			if o, null := masked(other); method == policy.MaskRedact && !null && !bytes.Equal(o, out) {
				t.Fatalf("Redact of type %d tells %q from %q: %q, %q", typ, src, other, out, o)
			}
		}
	})
}

var (
	dateText = regexp.MustCompile(`^(19[7-9]\d|20\d\d|21[0-4]\d)-\d\d-\d\d$`)
	uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	wholes   = regexp.MustCompile(`^\d{1,19}$`)
	decimals = regexp.MustCompile(`^\d+(\.\d+)?$`)
)

// unfit says why out is no value of the type, as the server would read it (its input and receive functions); empty
// where it is one. It does not use what masks.
func unfit(typ uint32, typmod int32, format int16, src, out []byte) string {
	text := format == formatText
	sizes := map[uint32]int{oidInt2: 2, oidInt4: 4, oidOID: 4, oidInt8: 8, oidFloat4: 4, oidFloat8: 8, oidDate: 4, oidTimestamp: 8,
		oidTimestampTZ: 8, oidUUID: 16, oidBool: 1}
	if size, ok := sizes[typ]; ok && !text {
		if len(out) != size {
			return "a wrong size"
		}
		return ""
	}
	s := string(out)
	is := func(ok bool) string {
		if ok {
			return ""
		}
		return "not of the type"
	}
	switch typ {
	case oidText, oidVarchar, oidBpchar, oidName, oidUnknown, oidChar:
		if utf8.Valid(src) && !utf8.Valid(out) {
			return "not in UTF-8"
		}
		if n := int(typmod) - 4; (typ == oidVarchar || typ == oidBpchar) && n > 0 && utf8.RuneCount(src) <= n && utf8.RuneCount(out) > n {
			return "longer than the type"
		}
		return is(typ != oidChar || len(out) == 1)
	case oidJSON, oidJSONB:
		if typ == oidJSONB && !text {
			if len(out) == 0 || out[0] != 1 {
				return "another version of jsonb"
			}
			out = out[1:]
		}
		return is(json.Valid(out))
	case oidBytea:
		if text && strings.HasPrefix(s, `\x`) {
			_, err := hex.DecodeString(s[2:])
			return is(err == nil)
		}
		return is(!text)
	case oidInt2, oidInt4, oidInt8, oidOID:
		n, err := strconv.ParseInt(s, 10, 8*sizes[typ])
		return is(err == nil && n >= 0 && wholes.MatchString(s))
	case oidFloat4, oidFloat8:
		return is(wholes.MatchString(s))
	case oidDate:
		return is(dateText.MatchString(s))
	case oidTimestamp:
		return is(dateText.MatchString(strings.TrimSuffix(s, " 00:00:00")))
	case oidTimestampTZ:
		return is(dateText.MatchString(strings.TrimSuffix(s, " 00:00:00+00")))
	case oidUUID:
		return is(uuidText.MatchString(s))
	case oidBool:
		return is(s == "f")
	case oidInet, oidCIDR:
		if !text {
			return is(len(out) == 8 && out[0] == 2 && out[1] == 32 && out[3] == 4 || len(out) == 20 && out[0] == 3 && out[1] == 128 && out[3] == 16)
		}
		_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimSuffix(s, "/32"), "/128"))
		return is(err == nil)
	case oidNumeric:
		return unfitNumeric(typmod, text, out)
	}
	return "of a type that is masked as NULL"
}

// unfitNumeric is unfit for numeric(p,s): numeric.c's numeric_recv, and apply_typmod, which rounds what has more digits
// behind the point and refuses what has more before it.
func unfitNumeric(typmod int32, text bool, out []byte) string {
	number := string(out)
	if !text {
		var why string
		if number, why = sentNumeric(out); why != "" {
			return why
		}
	}
	if !decimals.MatchString(number) {
		return "no number"
	}
	whole, behind, _ := strings.Cut(number, ".")
	whole, behind = strings.TrimLeft(whole, "0"), strings.TrimRight(behind, "0")
	if typmod < 4 {
		return ""
	}
	modifier := typmod - 4
	precision, scale := int(modifier>>16), int(modifier&0x7FF)
	if scale >= 0x400 {
		scale -= 0x800
	}
	if precision < 1 || precision > 1000 || scale < -1000 || scale > 1000 {
		return "" // of no type
	}
	if len(behind) > max(0, scale) || scale < 0 && strings.TrimRight(whole, "0") != "" && len(whole)-len(strings.TrimRight(whole, "0")) < -scale {
		return "the server would round it"
	}
	// Digits count from the first that is not zero.
	digits := len(whole)
	if digits == 0 && behind != "" {
		digits = len(strings.TrimLeft(behind, "0")) - len(behind)
	}
	if (whole != "" || behind != "") && digits > precision-scale {
		return "more digits than the type has"
	}
	return ""
}

// sentNumeric reads the binary format.
func sentNumeric(out []byte) (number, why string) {
	if len(out) < 8 {
		return "", "no header"
	}
	field := func(i int) int { return int(binary.BigEndian.Uint16(out[2*i:])) }
	n, weight := field(0), int(int16(field(1)))
	if len(out) != 8+2*n || field(2) != 0 || field(3) > 0x3FFF {
		return "", "a header that the server does not take"
	}
	var b strings.Builder
	for power := max(0, weight); power >= min(0, weight-n+1); power-- {
		if power == -1 {
			b.WriteByte('.')
		}
		group := 0
		if i := weight - power; i >= 0 && i < n {
			group = field(4 + i)
		}
		if group > 9999 {
			return "", "a digit that is none"
		}
		b.WriteString(strconv.Itoa(10000 + group)[1:])
	}
	return b.String(), ""
}
