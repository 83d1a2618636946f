package mask

import "bytes"

// The lines around a key in text encoding (RFC 7468, section 2; RFC 9580, section 6.2 for PGP).
const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
	pemDash  = "-----"

	// longestLabel bounds the label between BEGIN and the dashes.
	longestLabel = 64
	// longestPEM bounds how far a key without its end is replaced: a 16384 bit RSA key has 12.7 KB.
	longestPEM = 16 << 10
)

func firstPrivateKey(src []byte) int { return bytes.Index(src, []byte(pemBegin)) }

// scanPrivateKeys replaces what is between the lines of a private key. The lines themselves stay: they say what
// was there.
func scanPrivateKeys(r *rewriter) {
	for from := 0; ; {
		body := keyBody(r.src, from)
		if body < 0 {
			return
		}
		end := keyEnd(r.src, body, longestPEM)
		r.match(privateKey, body, end, &keepLineBreaks)
		from = end
	}
}

// keyBody returns where the text of the next private key begins, -1 if there is none.
func keyBody(src []byte, from int) int {
	for {
		at := bytes.Index(src[from:], []byte(pemBegin))
		if at < 0 {
			return -1
		}
		label := from + at + len(pemBegin)
		from = label
		rest := src[label:min(label+longestLabel+len(pemDash), len(src))]
		if n := bytes.Index(rest, []byte(pemDash)); n >= 0 && isKeyLabel(rest[:n]) {
			return label + n + len(pemDash)
		}
	}
}

// keyEnd returns where the text of a private key ends: at its END line, at the next BEGIN, or after most
// bytes.
func keyEnd(src []byte, body, most int) int {
	src = src[:min(body+most, len(src))]
	for i := body; ; {
		at := bytes.Index(src[i:], []byte(pemDash))
		if at < 0 {
			return len(src)
		}
		i += at
		if bytes.HasPrefix(src[i:], []byte(pemEnd)) || bytes.HasPrefix(src[i:], []byte(pemBegin)) {
			return i
		}
		i++
	}
}

func isKeyLabel(label []byte) bool {
	return bytes.HasSuffix(label, []byte("PRIVATE KEY")) || bytes.HasSuffix(label, []byte("PRIVATE KEY BLOCK"))
}

func isLineBreak(c byte) bool { return c == '\n' || c == '\r' }
