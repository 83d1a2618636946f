package mask

import (
	"encoding/binary"
	"strconv"
)

// Field is Rewrite for one value of a result column of a PostgreSQL type, in the text (0) or binary (1) format:
// the value stays valid for its type and keeps its length. Columns of types that Applies leaves out come back as
// they are. dst and src as for Rewrite.
func (d *Detectors) Field(dst []byte, typ uint32, format int16, src []byte) (out []byte, hits int) {
	switch typ {
	case oidJSON:
		return d.RewriteJSON(dst, src)
	case oidJSONB:
		if format == formatBinary && len(src) > 0 {
			return d.jsonb(dst, src)
		}
		return d.RewriteJSON(dst, src)
	case oidInt8:
		return d.integer(dst, format, src)
	}
	if !Applies(typ) {
		return src, 0
	}
	return d.Rewrite(dst, src)
}

// jsonb in binary is a version byte and the text (src/backend/utils/adt/jsonb.c, jsonb_send).
func (d *Detectors) jsonb(dst, src []byte) ([]byte, int) {
	out, hits := d.RewriteJSON(dst, src[1:])
	if hits == 0 {
		return src, 0
	}
	out = append(out, 0)
	copy(out[1:], out)
	out[0] = src[0]
	return out, hits
}

// integer replaces a card number in a bigint column by zeros.
func (d *Detectors) integer(dst []byte, format int16, src []byte) ([]byte, int) {
	if d.Empty() || !d.on[creditCard] {
		return src, 0
	}
	var digits [20]byte
	text := src
	if format == formatBinary {
		if len(src) != 8 {
			return src, 0
		}
		text = strconv.AppendInt(digits[:0], int64(binary.BigEndian.Uint64(src)), 10)
	}
	if len(text) < shortestCard || cardAt(text, 0, -1) != len(text) {
		return src, 0
	}
	out := append(dst[:0], src...)
	if format == formatBinary {
		clear(out)
		return out, 1
	}
	for i := range out {
		out[i] = '0'
	}
	return out, 1
}
