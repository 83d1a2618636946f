package mask

import (
	"bytes"
	"unicode/utf8"
)

// longestLocal is RFC 5321's bound on the local part (4.5.3.1.1); of a longer one, its end is replaced.
const longestLocal = 64

func scanEmail(r *rewriter) {
	for from := 0; ; {
		at := bytes.IndexByte(r.src[from:], '@')
		if at < 0 {
			return
		}
		at += from
		from = at + 1
		start := localStart(r.src, at)
		if start == at {
			continue
		}
		if end := domainEnd(r.src, at+1); end > 0 {
			r.match(email, start, end, &keepAddressMarks)
			from = end
		}
	}
}

// localStart returns where the local part before at begins: letters, digits and the marks in common use, never a
// quote or a bracket, so that what an address stands in stays whole.
func localStart(src []byte, at int) int {
	start := at
	for start > 0 && at-start < longestLocal && class[src[start-1]]&classLocal != 0 {
		start--
	}
	if start > 0 && class[src[start-1]]&classLocal != 0 {
		for start < at && src[start]&0xC0 == 0x80 { // not in the middle of a character
			start++
		}
	}
	return start
}

// domainEnd returns the end of the domain name at start: labels of letters, digits and inner dashes, the last of
// at least two letters. 0 if there is none.
func domainEnd(src []byte, start int) (end int) {
	label := start
	for i := start; ; i++ {
		if i < len(src) && class[src[i]]&classDomain != 0 && src[i] != '.' {
			continue
		}
		if i == label || src[label] == '-' {
			return end
		}
		if label > start {
			if letters := leadingLetters(src[label:i]); letters > 0 {
				end = label + letters
			}
		}
		if i >= len(src) || src[i] != '.' || src[i-1] == '-' {
			return end
		}
		label = i + 1
	}
}

// leadingLetters returns how much of a label can end a domain name: two letters or more. A punycode label
// (RFC 5890) counts whole.
func leadingLetters(label []byte) int {
	if len(label) > 4 && (label[0]|0x20) == 'x' && (label[1]|0x20) == 'n' && label[2] == '-' && label[3] == '-' {
		return len(label)
	}
	n := 0
	for n < len(label) && label[n]|0x20 >= 'a' && label[n]|0x20 <= 'z' {
		n++
	}
	letters := n
	for n < len(label) && (label[n] >= utf8.RuneSelf || label[n]|0x20 >= 'a' && label[n]|0x20 <= 'z') {
		_, size := utf8.DecodeRune(label[n:])
		n += size
		letters++
	}
	if letters < 2 {
		return 0
	}
	return n
}
