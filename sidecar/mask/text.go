package mask

import (
	"unicode/utf8"
	"unsafe"
)

// lookahead is how much behind the limit is read too, so that a match is whole before it is cut.
const lookahead = 4 << 10

// Text prepares a text for an error, an approval or a recording: matches are replaced, and what is longer than
// limit bytes is cut at a character (limit 0: not cut). length is the whole text's, in bytes.
func (d *Detectors) Text(s string, limit int) (text string, length int) {
	length = len(s)
	if limit > 0 {
		s = Cut(s, limit+lookahead)
	}
	if d.May(unsafe.Slice(unsafe.StringData(s), len(s))) { // which changes nothing
		if out, hits := d.Rewrite(nil, []byte(s)); hits > 0 {
			s = string(out)
		}
	}
	return Cut(s, limit), length
}

// Cut returns at most limit bytes of s and no half character. A limit of 0 or less cuts nothing.
func Cut(s string, limit int) string {
	if limit <= 0 || len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
