package mask

import "unicode/utf8"

// lookahead is how much behind the limit is read too, so that a match is whole before it is cut.
const lookahead = 4 << 10

// Text prepares a text for an error, an approval or a recording: matches are replaced, and what is longer than
// limit bytes is cut at a character (limit 0: not cut). length is the whole text's, in bytes.
func (d *Detectors) Text(s string, limit int) (text string, length int) {
	length = len(s)
	if limit > 0 {
		s = Cut(s, limit+lookahead)
	}
	if !d.Empty() {
		if b := []byte(s); d.May(b) {
			if out, hits := d.Rewrite(nil, b); hits > 0 {
				s = string(out)
			}
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
