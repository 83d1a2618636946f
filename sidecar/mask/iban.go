package mask

const (
	shortestIBAN = 15 // Norway
	longestIBAN  = 34 // ISO 13616-1
)

// ibanLengths is the SWIFT IBAN registry.
var ibanLengths = map[[2]byte]uint8{
	{'A', 'D'}: 24, {'A', 'E'}: 23, {'A', 'L'}: 28, {'A', 'T'}: 20, {'A', 'Z'}: 28, {'B', 'A'}: 20,
	{'B', 'E'}: 16, {'B', 'G'}: 22, {'B', 'H'}: 22, {'B', 'I'}: 27, {'B', 'R'}: 29, {'B', 'Y'}: 28,
	{'C', 'H'}: 21, {'C', 'R'}: 22, {'C', 'Y'}: 28, {'C', 'Z'}: 24, {'D', 'E'}: 22, {'D', 'J'}: 27,
	{'D', 'K'}: 18, {'D', 'O'}: 28, {'E', 'E'}: 20, {'E', 'G'}: 29, {'E', 'S'}: 24, {'F', 'I'}: 18,
	{'F', 'K'}: 18, {'F', 'O'}: 18, {'F', 'R'}: 27, {'G', 'B'}: 22, {'G', 'E'}: 22, {'G', 'I'}: 23,
	{'G', 'L'}: 18, {'G', 'R'}: 27, {'G', 'T'}: 28, {'H', 'N'}: 28, {'H', 'R'}: 21, {'H', 'U'}: 28,
	{'I', 'E'}: 22, {'I', 'L'}: 23, {'I', 'Q'}: 23, {'I', 'S'}: 26, {'I', 'T'}: 27, {'J', 'O'}: 30,
	{'K', 'W'}: 30, {'K', 'Z'}: 20, {'L', 'B'}: 28, {'L', 'C'}: 32, {'L', 'I'}: 21, {'L', 'T'}: 20,
	{'L', 'U'}: 20, {'L', 'V'}: 21, {'L', 'Y'}: 25, {'M', 'C'}: 27, {'M', 'D'}: 24, {'M', 'E'}: 22,
	{'M', 'K'}: 19, {'M', 'N'}: 20, {'M', 'R'}: 27, {'M', 'T'}: 31, {'M', 'U'}: 30, {'N', 'I'}: 28,
	{'N', 'L'}: 18, {'N', 'O'}: 15, {'O', 'M'}: 23, {'P', 'K'}: 24, {'P', 'L'}: 28, {'P', 'S'}: 29,
	{'P', 'T'}: 25, {'Q', 'A'}: 29, {'R', 'O'}: 24, {'R', 'S'}: 22, {'R', 'U'}: 33, {'S', 'A'}: 24,
	{'S', 'C'}: 31, {'S', 'D'}: 18, {'S', 'E'}: 24, {'S', 'I'}: 19, {'S', 'K'}: 24, {'S', 'M'}: 27,
	{'S', 'O'}: 23, {'S', 'T'}: 25, {'S', 'V'}: 28, {'T', 'L'}: 23, {'T', 'N'}: 24, {'T', 'R'}: 26,
	{'U', 'A'}: 29, {'V', 'A'}: 22, {'V', 'G'}: 24, {'X', 'K'}: 20, {'Y', 'E'}: 30,
}

const classIBAN = classDigit | classUpper | classSpace

func firstIBAN(src []byte) int {
	for from := 0; ; {
		start, end := run(src, from, shortestIBAN, classIBAN)
		if start < 0 {
			return -1
		}
		for i := start; i+shortestIBAN <= end; i++ {
			if readIBAN(src, i) > 0 {
				return i
			}
		}
		from = end
	}
}

func scanIBAN(r *rewriter) {
	for from := 0; ; {
		start, end := run(r.src, from, shortestIBAN, classIBAN)
		if start < 0 {
			return
		}
		for i := start; i+shortestIBAN <= end; {
			if stop := ibanAt(r.src, i); stop > 0 {
				r.match(iban, i, stop, &keepSeparators)
				i = stop
			} else {
				i++
			}
		}
		from = end
	}
}

// ibanHead tells whether a country and two check digits stand here.
func ibanHead(src []byte, i int) bool {
	return class[src[i]]&classUpper != 0 && class[src[i+1]]&classUpper != 0 && digitAt(src, i+2) && digitAt(src, i+3)
}

// ibanAt returns the end of the account number at start, 0 if there is none.
func ibanAt(src []byte, start int) int {
	if wordBefore(src, start) {
		return 0
	}
	end := readIBAN(src, start)
	if wordAfter(src, end) {
		return 0
	}
	return end
}

// readIBAN reads an account number, written without spaces or in groups of four, with no regard to what is around.
func readIBAN(src []byte, start int) (end int) {
	if !ibanHead(src, start) {
		return 0
	}
	length := int(ibanLengths[[2]byte{src[start], src[start+1]}])
	if length == 0 {
		return 0
	}
	spaced := src[start+4] == ' '
	var chars [longestIBAN]byte
	i := start
	for n := 0; n < length; n++ {
		if spaced && n > 0 && n%4 == 0 {
			if i >= len(src) || src[i] != ' ' {
				return 0
			}
			i++
		}
		if i >= len(src) || class[src[i]]&(classDigit|classUpper) == 0 {
			return 0
		}
		chars[n] = src[i]
		i++
	}
	if mod97(chars[:length]) != 1 {
		return 0
	}
	return i
}

// mod97 is ISO 7064 MOD 97-10 over the number with its first four characters moved to the end and letters as 10
// to 35.
func mod97(chars []byte) (rest uint32) {
	for i := range chars {
		c := chars[(i+4)%len(chars)]
		if c >= 'A' {
			rest = (rest*100 + uint32(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + uint32(c-'0')) % 97
		}
	}
	return rest
}
