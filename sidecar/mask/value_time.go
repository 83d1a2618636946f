package mask

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// epoch is PostgreSQL's day zero, in which dates (int32, days) and timestamps (int64, microseconds) are sent.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	dayMicros = 24 * 60 * 60 * 1_000_000
	// hashDays is how many days a hash may give, from hashFrom days before the epoch: 1970 to 2149.
	hashDays = 1 << 16
	hashFrom = 10957
)

func (v *value) moment(dst []byte) ([]byte, bool) {
	days := int64(0)
	if v.method == policy.MaskHash {
		canonical, ok := v.canonicalMoment()
		if !ok {
			return nil, false
		}
		days = int64(v.number(canonical)%hashDays) - hashFrom
	}
	if v.format == formatBinary {
		if v.typ == oidDate {
			return binary.BigEndian.AppendUint32(dst, uint32(int32(days))), true
		}
		return binary.BigEndian.AppendUint64(dst, uint64(days*dayMicros)), true
	}
	dst = epoch.AddDate(0, 0, int(days)).AppendFormat(dst, "2006-01-02")
	switch v.typ {
	case oidTimestamp:
		dst = append(dst, " 00:00:00"...)
	case oidTimestampTZ:
		dst = append(dst, " 00:00:00+00"...)
	}
	return dst, true
}

// canonicalMoment gives both formats the same text, where the text format is ISO (DateStyle's default); other
// styles are hashed as they are.
func (v *value) canonicalMoment() ([]byte, bool) {
	if v.format == formatText {
		if v.typ == oidTimestampTZ {
			for _, layout := range [...]string{"2006-01-02 15:04:05.999999-07", "2006-01-02 15:04:05.999999-07:00"} {
				if t, err := time.Parse(layout, string(v.src)); err == nil {
					return v.format8601(t.UTC()), true
				}
			}
		}
		return v.src, true
	}
	if v.typ == oidDate {
		if len(v.src) != 4 {
			return nil, false
		}
		switch days := int32(binary.BigEndian.Uint32(v.src)); days {
		case math.MaxInt32:
			return []byte("infinity"), true
		case math.MinInt32:
			return []byte("-infinity"), true
		default:
			return epoch.AddDate(0, 0, int(days)).AppendFormat(v.buf[:0], "2006-01-02"), true
		}
	}
	if len(v.src) != 8 {
		return nil, false
	}
	switch micros := int64(binary.BigEndian.Uint64(v.src)); micros {
	case math.MaxInt64:
		return []byte("infinity"), true
	case math.MinInt64:
		return []byte("-infinity"), true
	default:
		return v.format8601(time.UnixMicro(epoch.UnixMicro() + micros).UTC()), true
	}
}

func (v *value) format8601(t time.Time) []byte {
	layout := "2006-01-02 15:04:05.999999"
	if v.typ == oidTimestampTZ {
		layout += "-07"
	}
	return t.AppendFormat(v.buf[:0], layout)
}
