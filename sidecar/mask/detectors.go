package mask

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/mask/pattern"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// kind numbers the detectors.
type kind uint8

const (
	creditCard kind = iota
	email
	iban
	usSSN
	cloudKey
	privateKey
	kinds
)

// names are the detectors as a policy names them, in the order of their kinds.
var names = [kinds]string{"CreditCard", "Email", "IBAN", "USSSN", "CloudKey", "PrivateKey"}

// Names returns the names of all detectors.
func Names() []string { return slices.Clone(names[:]) }

// Detectors is a set of detectors, and of a policy's own patterns, ready to use from several goroutines. A nil *Detectors finds nothing.
type Detectors struct {
	on      [kinds]bool
	partial [kinds]bool
	any     bool
	// patterns are the policy's own, which are for streams and the texts around them.
	patterns []*pattern.Pattern
}

// NewDetectors returns the detectors with these names; what they find is redacted. The error names what is
// unknown.
func NewDetectors(names []string) (*Detectors, error) {
	return Compile([]policy.Masking{{Detectors: names}})
}

// All returns every detector.
func All() *Detectors {
	d, _ := NewDetectors(names[:])
	return d
}

// Compile returns the union of the rows' detectors. Partial keeps the last four characters of a card, an account
// or a social security number; every other method, and a detector that several rows name with different
// methods, redacts: a match inside a text cannot become NULL.
//
// The patterns of rows without columns belong to it too, the same pattern once; those of rows with columns are for
// these alone.
func Compile(rows []policy.Masking) (*Detectors, error) {
	d := &Detectors{}
	for _, row := range rows {
		for _, name := range row.Detectors {
			k := slices.Index(names[:], name)
			if k < 0 {
				return nil, fmt.Errorf("unknown detector %q: known are %s", name, strings.Join(names[:], ", "))
			}
			partial := row.Method == policy.MaskPartial
			d.partial[k] = partial && (!d.on[k] || d.partial[k])
			d.on[k], d.any = true, true
		}
		if row.Pattern == "" || len(row.Columns) > 0 || slices.ContainsFunc(d.patterns, func(p *pattern.Pattern) bool { return p.String() == row.Pattern }) {
			continue
		}
		p, err := pattern.Compile(row.Pattern)
		if err != nil {
			return nil, fmt.Errorf("masking pattern %q: %w", row.Pattern, err)
		}
		d.patterns, d.any = append(d.patterns, p), true
	}
	return d, nil
}

// Empty tells whether there is nothing to detect.
func (d *Detectors) Empty() bool { return d == nil || !d.any }

// Rewrite replaces every match in src by as many bytes and returns the number of matches. It returns src itself
// when nothing matches; otherwise the result is in dst's memory where that is large enough. dst must not overlap
// src; its content is not kept.
func (d *Detectors) Rewrite(dst, src []byte) (out []byte, hits int) {
	if d.Empty() {
		return src, 0
	}
	r := rewriter{src: src, dst: dst, to: len(src), partial: &d.partial}
	d.scan(&r)
	if d.on[privateKey] {
		scanPrivateKeys(&r)
	}
	for _, p := range d.patterns {
		p.All(src, func(m pattern.Span) { r.replace(int(m.Start), int(m.End)) })
	}
	if r.hits == 0 {
		return src, 0
	}
	return r.out, r.hits
}

// scan runs all detectors but that of private keys, which in a stream are found piece by piece.
func (d *Detectors) scan(r *rewriter) {
	if d.on[email] {
		scanEmail(r)
	}
	if d.on[creditCard] {
		scanCards(r)
	}
	if d.on[usSSN] {
		scanSSN(r)
	}
	if d.on[iban] {
		scanIBAN(r)
	}
	if d.on[cloudKey] {
		scanCloudKeys(r)
	}
}

// rewriter collects matches: every detector reads src, so that they do not depend on their order, and what they
// find is replaced in out.
type rewriter struct {
	src, dst, out []byte
	partial       *[kinds]bool
	hits          int

	// Of a stream, only the matches in src[from:to] count. open is where the earliest match begins that reaches to.
	from, to, open int
}

// match replaces src[start:end], but for the bytes that keep names and for the last four letters and digits of
// what is kept in part. Zero bytes stay too: they stand for what is not text (see flatten).
func (r *rewriter) match(k kind, start, end int, keep *kept) {
	if !r.counts(start, end) {
		return
	}
	if end >= r.to {
		r.open = min(r.open, start)
	}
	shown := 0
	if r.partial[k] && (k == creditCard || k == iban || k == usSSN) {
		shown = 4
	}
	src, out := r.src[start:end], r.out[start:end]
	for i := len(src) - 1; i >= 0; i-- {
		switch {
		case keep[src[i]]:
		case shown > 0:
			shown--
		default:
			out[i] = '*'
		}
	}
}

// counts tells whether a match is in what is looked at, and makes room for its replacement.
func (r *rewriter) counts(start, end int) bool {
	if end <= r.from || start >= r.to {
		return false
	}
	if r.out == nil {
		r.out = append(r.dst[:0], r.src...)
	}
	r.hits++
	return true
}

// replace replaces what a pattern matches in src[start:end], but for the ends of lines.
func (r *rewriter) replace(start, end int) {
	if !r.counts(start, end) {
		return
	}
	for i, c := range r.src[start:end] {
		if c != 0 && !isLineBreak(c) {
			r.out[start+i] = '*'
		}
	}
}

// kept are the bytes of a match that stay. Zero bytes always do.
type kept [256]bool

func keeping(bytes string) (k kept) {
	k[0] = true
	for _, b := range []byte(bytes) {
		k[b] = true
	}
	return k
}

var (
	keepNothing      = keeping("")
	keepSeparators   = keeping(" -")
	keepAddressMarks = keeping("@.")
	keepLineBreaks   = keeping("\n\r")
)
