package mask

// RewriteJSON is Rewrite for JSON text, which stays valid: inside strings, escapes are kept whole and count as
// boundaries; a number that matches becomes a string of the same length.
func (d *Detectors) RewriteJSON(dst, src []byte) (out []byte, hits int) {
	if !d.May(src) {
		return src, 0
	}
	// One buffer for both: the result, and behind it what the detectors read.
	n := len(src)
	dst = append(append(dst[:0], src...), src...)
	r := rewriter{src: dst[n:], out: dst[:n], to: n, partial: &d.partial}
	flatten(r.src, func(start, end int) {
		if d.on[creditCard] && cardAt(src[:end], start, -1) == end {
			replaceNumber(&r, start, end)
		}
	})
	d.scan(&r)
	if d.on[privateKey] {
		scanPrivateKeys(&r)
	}
	if r.hits == 0 {
		return src, 0
	}
	return r.out, r.hits
}

// flatten leaves only the ordinary text of JSON strings and writes zero bytes over the rest: structure, numbers,
// which are given to number, and escape sequences (RFC 8259, section 7).
func flatten(src []byte, number func(start, end int)) {
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '"':
			i = flattenString(src, i)
		case class[c]&classDigit != 0:
			start := i
			for i < len(src) && (class[src[i]]&(classDigit|classWord) != 0 || src[i] == '.' || src[i] == '+' || src[i] == '-') {
				i++
			}
			number(start, i)
			clear(src[start:i])
		default:
			src[i] = 0
			i++
		}
	}
}

// flattenString flattens the string that begins at i and returns where it ends.
func flattenString(src []byte, i int) int {
	src[i] = 0
	for i++; i < len(src); i++ {
		switch src[i] {
		case '"':
			src[i] = 0
			return i + 1
		case '\\':
			n := 2
			if i+1 < len(src) && src[i+1] == 'u' {
				n = 6
			}
			n = min(n, len(src)-i)
			clear(src[i : i+n])
			i += n - 1
		}
	}
	return i
}

// replaceNumber writes a string over a number and its sign.
func replaceNumber(r *rewriter, start, end int) {
	if start > 0 && r.out[start-1] == '-' {
		start--
	}
	r.hits++
	for i := start; i < end; i++ {
		r.out[i] = '*'
	}
	r.out[start], r.out[end-1] = '"', '"'
}
