package mask

// The classes of a byte that the detectors tell apart. Bytes from 0x80 on belong to UTF-8 sequences: they may be
// part of an address (RFC 6531) and of nothing else that is detected.
const (
	classDigit  = 1 << iota // 0-9
	classSep                // space and dash, the separators within numbers
	classUpper              // A-Z
	classWord               // letters, digits and underscore: what makes a neighbour part of a longer word
	classLocal              // the local part of an address
	classDomain             // a domain name
	classToken              // the keys of cloud services
	classSpace              // the space alone
)

// class is the one table that every detector reads.
var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		switch {
		case b >= '0' && b <= '9':
			t[c] = classDigit | classWord | classLocal | classDomain | classToken
		case b >= 'A' && b <= 'Z':
			t[c] = classUpper | classWord | classLocal | classDomain | classToken
		case b >= 'a' && b <= 'z':
			t[c] = classWord | classLocal | classDomain | classToken
		case b == '_':
			t[c] = classWord | classLocal | classToken
		case b == '-':
			t[c] = classSep | classLocal | classDomain | classToken
		case b == '.':
			t[c] = classLocal | classDomain | classToken
		case b == ' ':
			t[c] = classSep | classSpace
		case b == '%', b == '+':
			t[c] = classLocal
		case b >= 0x80:
			t[c] = classLocal | classDomain
		}
	}
	return t
}()

// run returns the next run of at least least bytes of one class, or -1. It looks at the far end of a possible
// run first, so that text without such runs is passed over in strides; no byte is looked at more than twice.
func run(src []byte, from, least int, mask uint8) (start, end int) {
	for p := from; p+least <= len(src); {
		q := p + least - 1
		for q >= p && class[src[q]]&mask != 0 {
			q--
		}
		if q >= p {
			p = q + 1
			continue
		}
		end = p + least
		for end < len(src) && class[src[end]]&mask != 0 {
			end++
		}
		return p, end
	}
	return -1, -1
}

// wordBefore and wordAfter tell whether a match would be part of a longer word.
func wordBefore(src []byte, at int) bool { return at > 0 && class[src[at-1]]&classWord != 0 }

func wordAfter(src []byte, at int) bool { return at < len(src) && class[src[at]]&classWord != 0 }

func digitAt(src []byte, at int) bool {
	return at >= 0 && at < len(src) && class[src[at]]&classDigit != 0
}
