package mask

import "bytes"

const (
	// holdNumber is the longest card with its separators and what follows it.
	holdNumber = longestCard + 4 + 1
	// holdDomain bounds a domain (RFC 5321, 4.5.3.1.2).
	holdDomain = 255
	// holdIBAN is the longest account number in groups of four.
	holdIBAN = longestIBAN + longestIBAN/4 + 1
	// holdKey is more than any key's prefix and least body.
	holdKey = 128
)

// held returns where what must be held back begins: the earliest byte from which a match may reach the end of what
// is there.
func (s *Stream) held() int {
	d, b := s.d, s.buf
	at := len(b)
	if d.on[creditCard] || d.on[usSSN] {
		at = min(at, holdDigits(b))
	}
	if d.on[email] {
		at = min(at, holdEmail(b))
	}
	if d.on[iban] {
		at = min(at, holdAccount(b))
	}
	if d.on[cloudKey] {
		at = min(at, holdCloudKey(b))
	}
	if d.on[privateKey] {
		at = min(at, holdPrivateKey(b))
	}
	for _, search := range s.searches {
		at = min(at, int(search.Decided()-s.offset))
	}
	return max(at, s.emitted)
}

// back returns where the run of a class at the end of b[:end] begins, at most most bytes before.
func back(b []byte, end, most int, mask uint8) int {
	start := end
	for start > 0 && end-start < most && class[b[start-1]]&mask != 0 {
		start--
	}
	return start
}

func holdDigits(b []byte) int {
	i := back(b, len(b), holdNumber, classDigit|classSep)
	for i < len(b) && !digitAt(b, i) {
		i++
	}
	return i
}

func holdEmail(b []byte) int {
	if at := back(b, len(b), holdDomain, classDomain); at > 0 && b[at-1] == '@' {
		return localStart(b, at-1)
	}
	return back(b, len(b), longestLocal, classLocal)
}

func holdAccount(b []byte) int {
	shape := [...]uint8{classUpper, classUpper, classDigit, classDigit}
next:
	for i := back(b, len(b), holdIBAN, classIBAN); i < len(b); i++ {
		for n, c := range b[i:min(i+len(shape), len(b))] {
			if class[c]&shape[n] == 0 {
				continue next
			}
		}
		return i
	}
	return len(b)
}

func holdCloudKey(b []byte) int {
	for i := back(b, len(b), holdKey, classToken); i < len(b); i++ {
		if wordBefore(b, i) {
			continue
		}
		for n := range credentials {
			c := &credentials[n]
			known := min(len(c.prefix), len(b)-i)
			if string(b[i:i+known]) == c.prefix[:known] && back(b[i+known:], len(b)-i-known, len(b), c.body) == 0 {
				return i
			}
		}
	}
	return len(b)
}

func holdPrivateKey(b []byte) int {
	// A first line that is not over.
	tail := max(0, len(b)-len(pemBegin)-longestLabel-len(pemDash))
	if n := bytes.LastIndex(b[tail:], []byte(pemBegin)); n >= 0 && !bytes.Contains(b[tail+n+len(pemBegin):], []byte(pemDash)) {
		return tail + n
	}
	for n := min(len(b), len(pemBegin)-1); n > 0; n-- {
		if end := string(b[len(b)-n:]); end == pemBegin[:n] || n < len(pemEnd) && end == pemEnd[:n] {
			return len(b) - n
		}
	}
	return len(b)
}
