package mask

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (v *value) integer(dst []byte) ([]byte, bool) {
	size, most := 8, uint64(math.MaxInt64)
	switch v.typ {
	case oidInt2:
		size, most = 2, math.MaxInt16
	case oidInt4, oidOID:
		size, most = 4, math.MaxInt32
	}
	n, ok := v.readInteger(size)
	if !ok {
		return nil, false
	}
	var masked uint64
	switch v.method {
	case policy.MaskHash:
		masked = v.number(strconv.AppendInt(v.buf[:0], n, 10)) % (most + 1)
	case policy.MaskPartial:
		masked = lastDigits(n)
	}
	if v.format == formatText {
		return strconv.AppendUint(dst, masked, 10), true
	}
	switch size {
	case 2:
		return binary.BigEndian.AppendUint16(dst, uint16(masked)), true
	case 4:
		return binary.BigEndian.AppendUint32(dst, uint32(masked)), true
	}
	return binary.BigEndian.AppendUint64(dst, masked), true
}

func (v *value) readInteger(size int) (n int64, ok bool) {
	if v.format == formatText {
		n, err := strconv.ParseInt(string(v.src), 10, 64)
		return n, err == nil
	}
	if len(v.src) != size {
		return 0, false
	}
	switch {
	case size == 2:
		n = int64(int16(binary.BigEndian.Uint16(v.src)))
	case size == 4 && v.typ == oidOID:
		n = int64(binary.BigEndian.Uint32(v.src))
	case size == 4:
		n = int64(int32(binary.BigEndian.Uint32(v.src)))
	default:
		n = int64(binary.BigEndian.Uint64(v.src))
	}
	return n, true
}

func lastDigits(n int64) uint64 {
	u := uint64(n)
	if n < 0 {
		u = -u
	}
	digits := 0
	for rest := u; rest > 0; rest /= 10 {
		digits++
	}
	divisor := uint64(1)
	for range shown(digits) {
		divisor *= 10
	}
	return u % divisor
}

func (v *value) float(dst []byte) ([]byte, bool) {
	bits := 64
	if v.typ == oidFloat4 {
		bits = 32
	}
	var f float64
	switch {
	case v.format == formatText:
		var err error
		if f, err = strconv.ParseFloat(string(v.src), bits); err != nil {
			return nil, false
		}
	case bits == 32 && len(v.src) == 4:
		f = float64(math.Float32frombits(binary.BigEndian.Uint32(v.src)))
	case bits == 64 && len(v.src) == 8:
		f = math.Float64frombits(binary.BigEndian.Uint64(v.src))
	default:
		return nil, false
	}
	var masked uint64
	if v.method == policy.MaskHash {
		if f == 0 {
			f = 0 // negative zero equals zero
		}
		// As many bits as the type holds exactly, so that both formats give the same number.
		masked = v.number(strconv.AppendFloat(v.buf[:0], f, 'g', -1, bits)) >> (63 - map[int]uint{32: 24, 64: 53}[bits])
	}
	switch {
	case v.format == formatText:
		return strconv.AppendUint(dst, masked, 10), true
	case bits == 32:
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(masked))), true
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(float64(masked))), true
}

func (v *value) bool(dst []byte) []byte {
	if v.format == formatText {
		return append(dst, 'f')
	}
	return append(dst, 0)
}
