package mask

// mayCard looks for enough digits close together.
func mayCard(src []byte) bool {
	for from := 0; ; {
		start, end := run(src, from, shortestCard, classDigit|classSep)
		if start < 0 {
			return false
		}
		digits := 0
		for _, c := range src[start:end] {
			if class[c]&classDigit != 0 {
				if digits++; digits == shortestCard {
					return true
				}
			}
		}
		from = end
	}
}

func scanCards(r *rewriter) {
	for from := 0; ; {
		start, end := run(r.src, from, shortestCard, classDigit|classSep)
		if start < 0 {
			return
		}
		for i := start; i < end; {
			if !digitAt(r.src, i) {
				i++
				continue
			}
			if stop := cardAt(r.src, i); stop > 0 {
				r.match(creditCard, i, stop, isSeparator)
				i = stop
			}
			for i < end && digitAt(r.src, i) {
				i++
			}
		}
		from = end
	}
}

// cardAt returns the end of the card number that begins at start, which is the first digit of its run; 0 if none
// does. Of several readings the longest counts.
func cardAt(src []byte, start int) int {
	if wordBefore(src, start) || continuesNumber(src, start) {
		return 0
	}
	var (
		groups [5]uint8 // no printed form has more
		digits [longestCard]byte
		n, end int
		sep    byte
		found  int
	)
	for g := range groups {
		from := end
		if g == 0 {
			from = start
		}
		end = from
		for digitAt(src, end) {
			if n == longestCard {
				return found
			}
			digits[n] = src[end] - '0'
			n++
			end++
		}
		groups[g] = uint8(end - from)
		if n >= shortestCard && (g == 0 || grouped(groups[:g+1], n)) && endsNumber(src, end) &&
			issued(prefix(digits[:6]), n) && luhn(digits[:n]) {
			found = end
		}
		// On to the next group: one separator, always the same, and a digit.
		if end >= len(src) || class[src[end]]&classSep == 0 || g > 0 && src[end] != sep || !digitAt(src, end+1) {
			return found
		}
		sep = src[end]
		end++
	}
	return found
}

// continuesNumber tells whether the digits from start on belong to a number or a dashed token that began before:
// behind a dash or a decimal point, or a further group of four behind a space. Shorter groups before a space are
// a column of their own.
func continuesNumber(src []byte, start int) bool {
	if start < 2 || !digitAt(src, start-2) {
		return false
	}
	switch src[start-1] {
	case '-', '.':
		return true
	case ' ':
		return digitAt(src, start-3) && digitAt(src, start-4) && digitAt(src, start-5)
	}
	return false
}

// endsNumber tells whether a number may end here. A space before more digits ends it, as the card's code or
// expiry often follows; a dash or a decimal point does not.
func endsNumber(src []byte, end int) bool {
	if wordAfter(src, end) {
		return false
	}
	return end >= len(src) || src[end] != '-' && src[end] != '.' || !digitAt(src, end+1)
}

func prefix(digits []byte) (n uint32) {
	for _, d := range digits {
		n = n*10 + uint32(d)
	}
	return n
}

// luhn checks the number's check digit (ISO/IEC 7812-1, annex B).
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
