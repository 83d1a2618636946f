package mask

// lengthSSN is ddd-dd-dddd. Nine digits without separators are too often something else.
const lengthSSN = 11

func firstSSN(src []byte) int {
	for from := 0; ; {
		start, end := run(src, from, lengthSSN, classDigit|classSep)
		if start < 0 {
			return -1
		}
		for i := start; i+lengthSSN <= end; i++ {
			if shapeSSN(src, i) {
				return i
			}
		}
		from = end
	}
}

func scanSSN(r *rewriter) {
	for from := 0; ; {
		start, end := run(r.src, from, lengthSSN, classDigit|classSep)
		if start < 0 {
			return
		}
		for i := start; i+lengthSSN <= end; i++ {
			if shapeSSN(r.src, i) && issuedSSN(r.src[i:]) && aloneSSN(r.src, i) {
				r.match(usSSN, i, i+lengthSSN, &keepSeparators)
				i += lengthSSN
			}
		}
		from = end
	}
}

func shapeSSN(s []byte, i int) bool {
	s = s[i : i+lengthSSN]
	if s[3] != s[6] || class[s[3]]&classSep == 0 {
		return false
	}
	for n, c := range s {
		if n != 3 && n != 6 && class[c]&classDigit == 0 {
			return false
		}
	}
	return true
}

// issuedSSN leaves out what is never issued: area 000, 666 and 900 to 999, group 00, serial 0000 (SSA, POMS RM
// 10201.035).
func issuedSSN(s []byte) bool {
	area := string(s[:3])
	return area != "000" && area != "666" && s[0] != '9' && string(s[4:6]) != "00" && string(s[7:11]) != "0000"
}

// aloneSSN: not part of a longer word, number or dashed token.
func aloneSSN(src []byte, i int) bool {
	end := i + lengthSSN
	if wordBefore(src, i) || wordAfter(src, end) {
		return false
	}
	if i > 1 && isJoint(src[i-1], src[i+3]) && digitAt(src, i-2) {
		return false
	}
	return end >= len(src) || !isJoint(src[end], src[i+3]) || !digitAt(src, end+1)
}

func isJoint(c, sep byte) bool { return c == '-' || c == '.' || c == sep }
