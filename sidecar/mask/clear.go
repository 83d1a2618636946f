package mask

import "bytes"

// May tells whether src could hold a match. It has no regard to what is around a match and may be asked about many
// values at once, with their framing between them (lengths of at most 768 MiB, message types): false means that no
// value in src matches. It is the fast way through rows in which nothing does.
func (d *Detectors) May(src []byte) bool { return d.Clear(src) < len(src) }

// Clear is May for values that come one after the other: it returns how much of the beginning of src is clear. No value
// that ends there holds a match. Before a policy's own patterns nothing is clear: what they match, and what they ask of a
// value's beginning and end, is known only value by value.
func (d *Detectors) Clear(src []byte) int {
	switch {
	case d.Empty():
		return len(src)
	case len(d.patterns) > 0:
		return 0
	}
	// Each looks only at what is clear to those before it: what begins there and goes on behind is of no value that
	// ends there.
	clear := src
	for i := range firsts {
		if f := &firsts[i]; d.on[f.of] {
			if at := f.find(clear); at >= 0 {
				clear = clear[:at]
			}
		}
	}
	return len(clear)
}

// firsts find where the first possible match begins, or a byte before that; -1: nowhere. The fastest come first.
var firsts = [kinds]struct {
	of   kind
	find func([]byte) int
}{
	{email, firstEmail}, {privateKey, firstPrivateKey}, {creditCard, firstCard},
	{usSSN, firstSSN}, {iban, firstIBAN}, {cloudKey, firstCloudKey},
}

func firstEmail(src []byte) int { return bytes.IndexByte(src, '@') }

// Apart tells whether a byte between two values leaves them as they are to May and to Clear: it belongs to nothing that is
// detected, and makes nothing else of what is beside it.
func Apart(b byte) bool { return class[b] == 0 && b != '@' && b != 0 }
