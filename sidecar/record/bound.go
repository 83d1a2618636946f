package record

import (
	"slices"
	"unicode/utf8"
)

const (
	// maxData bounds the bytes of one output event: escaped six times as long, they still fit.
	maxData = 8 << 10
	// leastText is what every text of an event may have: nineteen of them, all escapes, still fit.
	leastText = 512
)

// cutText returns at most limit bytes of s, and no half character unless s is not text.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return s[:n]
		}
	}
	return s[:limit]
}

// appendBounded appends an event whose line is longer than maxEvent with its texts cut, no more than needed.
func appendBounded(dst []byte, e *Event) []byte {
	line := dst
	for _, limit := range [...]int{maxData, leastText} {
		for _, s := range [...]*string{
			&e.Protocol, &e.Peer, &e.User, &e.Database, &e.Client, &e.Text, &e.Digest, &e.Verdict, &e.Audited,
			&e.Policy, &e.Rule, &e.Message, &e.Request, &e.Decision, &e.Tag, &e.SQLSTATE, &e.Error, &e.Stream, &e.Data,
		} {
			*s = cutText(*s, limit)
		}
		e.Deciders = slices.Clone(e.Deciders[:min(len(e.Deciders), 16)]) // the caller's stay as they are
		for i := range e.Deciders {
			e.Deciders[i] = cutText(e.Deciders[i], leastText/16)
		}
		if line = appendEvent(dst, e); len(line)-len(dst) <= maxEvent {
			break
		}
	}
	return line
}
