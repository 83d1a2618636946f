package mask

// issuer is a range of card numbers by their first six digits, and the lengths that are issued in it (ISO/IEC
// 7812; the networks' published ranges).
type issuer struct {
	low, high uint32
	lengths   uint32 // bit n: n digits
}

func lengths(from, to int) (bits uint32) {
	for n := from; n <= to; n++ {
		bits |= 1 << n
	}
	return bits
}

const (
	shortestCard = 12
	longestCard  = 19
)

// issuers is ordered by prefix; ranges do not overlap.
var issuers = [...]issuer{
	{220000, 220499, lengths(16, 19)},         // Mir
	{222100, 272099, 1 << 16},                 // Mastercard, series 2
	{300000, 305999, 1<<14 | lengths(16, 19)}, // Diners Club
	{309500, 309599, 1<<14 | lengths(16, 19)}, // Diners Club
	{340000, 349999, 1 << 15},                 // American Express
	{352800, 358999, lengths(16, 19)},         // JCB
	{360000, 369999, lengths(14, 19)},         // Diners Club
	{370000, 379999, 1 << 15},                 // American Express
	{380000, 399999, 1<<14 | lengths(16, 19)}, // Diners Club
	{400000, 499999, 1<<13 | 1<<16 | 1<<19},   // Visa
	{501800, 501899, lengths(12, 19)},         // Maestro
	{501900, 501999, 1 << 16},                 // Dankort
	{502000, 502099, lengths(12, 19)},         // Maestro
	{503800, 503899, lengths(12, 19)},         // Maestro
	{506099, 506198, 1<<16 | 1<<18 | 1<<19},   // Verve
	{506699, 506778, 1 << 16},                 // Elo
	{507865, 507964, 1<<16 | 1<<18 | 1<<19},   // Verve
	{508500, 508999, 1 << 16},                 // RuPay
	{509000, 509999, 1 << 16},                 // Elo
	{510000, 559999, 1 << 16},                 // Mastercard
	{589300, 589399, lengths(12, 19)},         // Maestro
	{601100, 601199, lengths(16, 19)},         // Discover
	{606282, 606282, 1 << 16},                 // Hipercard
	{606985, 607984, 1 << 16},                 // RuPay
	{608001, 608500, 1 << 16},                 // RuPay
	{620000, 629999, lengths(16, 19)},         // UnionPay, Discover
	{630400, 630499, lengths(12, 19)},         // Maestro
	{636000, 636999, lengths(16, 19)},         // InterPayment, Elo
	{644000, 659999, lengths(16, 19)},         // Discover, RuPay, Elo
	{675900, 675999, lengths(12, 19)},         // Maestro
	{676100, 676399, lengths(12, 19)},         // Maestro
	{810000, 817199, lengths(16, 19)},         // UnionPay, RuPay
	{979200, 979289, 1 << 16},                 // Troy
}

// issuedLengths are the lengths of the numbers with this prefix that a network issues.
func issuedLengths(prefix uint32) uint32 {
	for i := firstIssuer[prefix/10000]; int(i) < len(issuers); i++ {
		if prefix <= issuers[i].high {
			if prefix < issuers[i].low {
				return 0
			}
			return issuers[i].lengths
		}
	}
	return 0
}

// firstIssuer is where the ranges begin that end in or behind a number's first two digits; leads marks those digits with
// which a number begins that is issued.
var firstIssuer, leads = func() (first [100]uint8, leads [100]bool) {
	for n := range uint32(100) {
		for int(first[n]) < len(issuers) && issuers[first[n]].high/10000 < n {
			first[n]++
		}
		leads[n] = int(first[n]) < len(issuers) && issuers[first[n]].low/10000 <= n
	}
	return first, leads
}()

// grouped tells whether groups of these sizes are how a number of so many digits is printed: fours with a
// shorter rest, 4-6-5 and 4-6-4 (American Express, Diners Club), 4-3-3-3 (old Visa), 6-13 (UnionPay).
func grouped(groups []uint8, digits int) bool {
	switch {
	case digits == 15 && is(groups, 4, 6, 5),
		digits == 14 && is(groups, 4, 6, 4),
		digits == 13 && is(groups, 4, 3, 3, 3),
		digits == 19 && is(groups, 6, 13):
		return true
	}
	for i, n := range groups {
		if n > 4 || n < 4 && i < len(groups)-1 {
			return false
		}
	}
	return true
}

func is(groups []uint8, sizes ...uint8) bool {
	if len(groups) != len(sizes) {
		return false
	}
	for i := range sizes {
		if groups[i] != sizes[i] {
			return false
		}
	}
	return true
}
