package mask

import (
	"errors"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Value is Append with a new Masker and a new result.
func Value(method policy.Method, typ uint32, format int16, key, src []byte) (out []byte, null bool, err error) {
	return NewMasker(key).Append(nil, method, typ, -1, format, src)
}

// ErrNoKey is returned for the method Hash by a Masker without a key: an unkeyed hash of a card number is as
// good as the number.
var ErrNoKey = errors.New("masking by hash needs a key")

// value is a protected value on its way to its replacement.
type value struct {
	method policy.Method
	typ    uint32
	typmod int32
	format int16
	src    []byte
	*Masker
}

// Append appends to dst the replacement of a value that is not NULL, in the same format (0 text, 1 binary), valid
// for its PostgreSQL type (by object id, and its modifier or -1):
//
//	          Redact             Partial                  Hash
//	texts     8 stars            last four characters     16 hexadecimal digits
//	json(b)   "********"         "********"               "16 hexadecimal digits"
//	bytea     8 stars            last four bytes          8 bytes
//	integers  0                  last four digits         a positive number
//	fractions 0                  0                        a positive whole number
//	times     2000-01-01         2000-01-01               a day from 1970 to 2149, midnight
//	uuid      all zero           last four digits         a version 8 uuid
//	bool      false              false                    false
//	inet      0.0.0.0            0.0.0.0                  an address in 3fff::/20
//
// Redact tells nothing of the value, not even its length; where a text's type is shorter (varchar(3)) there are as
// many stars as it takes, and as many digits of a hash; the hash of a numeric(5,2) is one too. Partial never shows more
// than half. Hash is HMAC-SHA256 over the type's text form, shortened: equal values of one declared type stay equal, in
// both formats, so that joins still work. With the method Null, for arrays and for any type not listed, null is true and nothing is appended. An unknown method is an error.
func (m *Masker) Append(dst []byte, method policy.Method, typ uint32, typmod int32, format int16, src []byte) (out []byte, null bool, err error) {
	switch method {
	case policy.MaskRedact, policy.MaskPartial, "":
	case policy.MaskHash:
		if len(m.key) == 0 {
			return dst, true, ErrNoKey
		}
	case policy.MaskNull:
		return dst, true, nil
	default:
		return dst, true, fmt.Errorf("unknown masking method %q", method)
	}
	v := value{method: method, typ: typ, typmod: typmod, format: format, src: src, Masker: m}
	ok := false
	switch typ {
	case oidText, oidVarchar, oidBpchar, oidName, oidUnknown:
		out, ok = v.text(dst), true
	case oidChar:
		out, ok = append(dst, '*'), true
	case oidJSON, oidJSONB:
		out, ok = v.json(dst), true
	case oidBytea:
		out, ok = v.bytea(dst)
	case oidInt2, oidInt4, oidInt8, oidOID:
		out, ok = v.integer(dst)
	case oidFloat4, oidFloat8:
		out, ok = v.float(dst)
	case oidNumeric:
		out, ok = v.numeric(dst)
	case oidDate, oidTimestamp, oidTimestampTZ:
		out, ok = v.moment(dst)
	case oidUUID:
		out, ok = v.uuid(dst)
	case oidBool:
		out, ok = v.bool(dst), true
	case oidInet, oidCIDR:
		out, ok = v.inet(dst)
	}
	if !ok {
		return dst, true, nil
	}
	return out, false, nil
}
