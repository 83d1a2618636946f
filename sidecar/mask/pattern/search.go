package pattern

import (
	"regexp/syntax"
	"unicode/utf8"
)

const (
	// Longest is how many bytes of a match that is not over are held back. A token of three parts (RFC 7519) has some
	// kilobytes.
	Longest = 4 << 10
	// Patience is how many bytes a search goes on for a better match than the one that it has. It begins again behind
	// that, so that this also bounds how often a byte is looked at.
	Patience = 1 << 10
)

// Span is a match: the bytes from Start up to End of the stream.
type Span struct{ Start, End int64 }

// Search is the search of one pattern through one stream. It is a simulation of the expression's automaton: the states
// it may be in, in the order in which the expression prefers them, each with where its match began. Not for several
// goroutines.
type Search struct {
	p *Pattern
	// at is the next byte that is looked at; before is the character in front of it, -1 at the stream's begin.
	at     int64
	before rune
	states []state
	next   []state
	// seen are the instructions that have been reached at the character that is looked at: those in dense whose index
	// sparse holds.
	sparse []uint32
	dense  []state

	// found is the match of the states that have ended, which those that go on may still better.
	found       bool
	match       Span
	beforeFound rune // the character in front of match.End
	spans       []Span
}

type state struct {
	pc    uint32
	start int64
}

// NewSearch returns a search at the begin of a stream.
func NewSearch(p *Pattern) *Search {
	return &Search{p: p, before: -1, sparse: make([]uint32, len(p.prog.Inst))}
}

// Reset begins another stream.
func (s *Search) Reset() {
	s.at, s.before, s.found = 0, -1, false
	s.states, s.spans = s.states[:0], s.spans[:0]
}

// Feed looks at all whole characters of buf, which holds the stream from offset on, and which has to begin at Needs or
// before.
func (s *Search) Feed(buf []byte, offset int64) { s.run(buf, offset, false) }

// Needs is the first byte of the stream that has to be there at the next Feed.
func (s *Search) Needs() int64 {
	if s.found {
		return min(s.match.End, s.at)
	}
	return s.at
}

// Decided is up to where Spans has all matches of what has been fed: what is behind it may yet become part of one. It
// is never more than Longest bytes, and three of a character that is not whole, before what was fed.
func (s *Search) Decided() int64 {
	switch {
	case len(s.states) == 0:
		return s.at
	case s.found && s.states[0].start == s.match.Start:
		// Whatever comes, the match holds what it has by now.
		return s.match.End
	}
	// An earlier begin is always preferred, so that it comes first.
	return max(s.states[0].start, s.at-Longest)
}

// Spans calls with the matches that end behind from, in order.
func (s *Search) Spans(from int64, with func(Span)) {
	for _, span := range s.spans {
		if span.End > from {
			with(span)
		}
	}
	if s.found && s.match.End > from {
		with(s.match)
	}
}

// Forget drops the matches that end at upTo or before.
func (s *Search) Forget(upTo int64) {
	n := 0
	for n < len(s.spans) && s.spans[n].End <= upTo {
		n++
	}
	s.spans = append(s.spans[:0], s.spans[n:]...)
}

// End looks at the rest of a stream that ends with buf: nothing follows. There is no Feed after it.
func (s *Search) End(buf []byte, offset int64) { s.run(buf, offset, true) }

// IfItEnded is a copy of the search after End, as if nothing followed buf.
func (s *Search) IfItEnded(into *Search, buf []byte, offset int64) *Search {
	if into == nil {
		into = NewSearch(s.p)
	}
	into.at, into.before, into.found, into.match, into.beforeFound = s.at, s.before, s.found, s.match, s.beforeFound
	into.states = append(into.states[:0], s.states...)
	into.spans = append(into.spans[:0], s.spans...)
	into.run(buf, offset, true)
	return into
}

func (s *Search) run(buf []byte, offset int64, last bool) {
	end := offset + int64(len(buf))
	for {
		if len(s.states) == 0 {
			if s.found {
				s.settle()
				continue
			}
			for s.at < end && !s.p.first[buf[s.at-offset]] {
				s.before = rune(buf[s.at-offset]) // of what is not ASCII it is enough to know that
				s.at++
			}
		}
		rest := buf[s.at-offset:]
		if len(rest) == 0 {
			if !last || len(s.states) == 0 {
				return
			}
			s.step(-1, 0)
			continue
		}
		c, size := rune(rest[0]), 1
		if c >= utf8.RuneSelf {
			if !last && !utf8.FullRune(rest) {
				return
			}
			c, size = utf8.DecodeRune(rest)
		}
		s.step(c, size)
		if s.found && len(s.states) > 0 && s.at-s.match.End > Patience {
			s.settle()
		}
	}
}

// settle takes the match that was found and begins again behind it.
func (s *Search) settle() {
	s.spans = append(s.spans, s.match)
	s.at, s.before, s.found = s.match.End, s.beforeFound, false
	s.states = s.states[:0]
}

// step looks at a character, -1 at the end: what the states assert of their neighbours is known only now.
func (s *Search) step(c rune, size int) {
	around := syntax.EmptyOpContext(s.before, c)
	s.dense = s.dense[:0]
	for _, t := range s.states {
		s.add(t.pc, t.start, around)
	}
	if !s.found && c >= 0 {
		s.add(uint32(s.p.prog.Start), s.at, around)
	}
	s.next = s.next[:0]
	for _, t := range s.dense {
		in := &s.p.prog.Inst[t.pc]
		switch in.Op {
		case syntax.InstMatch:
			s.found, s.match, s.beforeFound = true, Span{t.start, s.at}, s.before
		case syntax.InstRune1:
			if c == in.Rune[0] {
				s.next = append(s.next, state{in.Out, t.start})
			}
		case syntax.InstRuneAny:
			if c >= 0 {
				s.next = append(s.next, state{in.Out, t.start})
			}
		case syntax.InstRune, syntax.InstRuneAnyNotNL:
			if c >= 0 && in.MatchRune(c) {
				s.next = append(s.next, state{in.Out, t.start})
			}
		}
		if in.Op == syntax.InstMatch {
			break // what follows is less preferred
		}
	}
	s.states, s.next = s.next, s.states
	s.at += int64(size)
	if size > 0 {
		s.before = c
	}
}

// add reaches an instruction, and all that follow it without a character.
func (s *Search) add(pc uint32, start int64, around syntax.EmptyOp) {
	if at := s.sparse[pc]; int(at) < len(s.dense) && s.dense[at].pc == pc {
		return
	}
	s.sparse[pc] = uint32(len(s.dense))
	s.dense = append(s.dense, state{pc, start})
	switch in := &s.p.prog.Inst[pc]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		s.add(in.Out, start, around)
		s.add(in.Arg, start, around)
	case syntax.InstCapture, syntax.InstNop:
		s.add(in.Out, start, around)
	case syntax.InstEmptyWidth:
		if syntax.EmptyOp(in.Arg)&^around == 0 {
			s.add(in.Out, start, around)
		}
	}
}
