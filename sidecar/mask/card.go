package mask

// firstCard looks for a card number with no regard to what is around it: that may be the framing of values.
func firstCard(src []byte) int {
	for from := 0; ; {
		start, end := cardRun(src, from)
		if start < 0 {
			return -1
		}
		from = end
		group := start
		for fraction(src, start) && group < end && src[group] >= '0' {
			group++
		}
		if mayGroups(src[group:end]) {
			return start
		}
	}
}

// fraction tells whether the digits from start on, where a run of digits and separators begins, are behind a decimal point
// of the same value (see continuesNumber). The digit before the point, or both, could be of a length before the value: the
// first of a length's four bytes is zero.
func fraction(src []byte, start int) bool {
	return start >= 5 && src[start-1] == '.' && digitAt(src, start-2) && src[start-3] != 0 && src[start-4] != 0 && src[start-5] != 0
}

// mayGroups tries every group of digits as a number's first: from as many digits before its end as a first group
// has, since what is before may be framing that looks like a digit. src is a run of digits and separators.
func mayGroups(src []byte) bool {
	for i := 0; len(src)-i >= shortestCard; {
		end := i
		for end < len(src) && src[end] >= '0' {
			end++
		}
		for from := max(i, end-longestCard); from <= min(end-4, len(src)-shortestCard); from++ {
			n := end - from
			if n != 4 && n != 6 && n < shortestCard || !leads[(src[from]-'0')*10+src[from+1]-'0'] {
				continue
			}
			if n >= 6 && issuedLengths(prefix(src[from:from+6])) == 0 {
				continue
			}
			if readCard(src, from, -1, false) > 0 {
				return true
			}
		}
		i = end + 1
	}
	return false
}

func scanCards(r *rewriter) {
	last := -1 // where the card before ended
	for from := 0; ; {
		start, end := cardRun(r.src, from)
		if start < 0 {
			return
		}
		for i := start; i < end; {
			if !digitAt(r.src, i) {
				i++
				continue
			}
			if stop := cardAt(r.src, i, last); stop > 0 {
				r.match(creditCard, i, stop, &keepSeparators)
				i, last = stop, stop
			}
			for i < end && digitAt(r.src, i) {
				i++
			}
		}
		from = end
	}
}

// cardAt returns the end of the card number that begins at start, which is the first digit of its run; 0 if none
// does. Of several readings the longest counts. last is where the card before ended, or -1.
func cardAt(src []byte, start, last int) int {
	if wordBefore(src, start) || continuesNumber(src, start) {
		return 0
	}
	return readCard(src, start, last, true)
}

// readCard reads a number and, if it must be alone, looks at what comes behind it and at groups before it.
func readCard(src []byte, start, last int, alone bool) int {
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
		if n >= shortestCard && (g == 0 || grouped(groups[:g+1], n)) && (!alone || endsNumber(src, end)) &&
			issuedLengths(prefix(digits[:]))&(1<<n) != 0 && luhn(digits[:n]) {
			found = end
		}
		// On to the next group: one separator, always the same, and a digit.
		if end >= len(src) || class[src[end]]&classSep == 0 || g > 0 && src[end] != sep || !digitAt(src, end+1) {
			return found
		}
		sep = src[end]
		if alone && g == 0 && sep == ' ' && start-1 != last && behindGroup(src, start) {
			return found
		}
		end++
	}
	return found
}

// continuesNumber tells whether the digits from start on belong to a number or a dashed token that began before:
// behind a dash or a decimal point.
func continuesNumber(src []byte, start int) bool {
	return digitAt(src, start-2) && (src[start-1] == '-' || src[start-1] == '.')
}

// behindGroup tells whether four digits and a space are before start, so that groups from there on are the middle
// of a longer number. Fewer digits are a column of their own.
func behindGroup(src []byte, start int) bool {
	return start > 0 && src[start-1] == ' ' &&
		digitAt(src, start-2) && digitAt(src, start-3) && digitAt(src, start-4) && digitAt(src, start-5)
}

// endsNumber tells whether a number may end here. A space before more digits ends it, as the card's code or
// expiry often follows; a dash or a decimal point does not.
func endsNumber(src []byte, end int) bool {
	if wordAfter(src, end) {
		return false
	}
	return end >= len(src) || src[end] != '-' && src[end] != '.' || !digitAt(src, end+1)
}

// prefix is the number that digits begin with, as values or as characters.
func prefix(digits []byte) (n uint32) {
	for _, d := range digits[:6] {
		n = n*10 + uint32(d&0xf)
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
