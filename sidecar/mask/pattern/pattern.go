// Package pattern finds the matches of a policy's regular expressions (RE2 syntax) in texts and in streams that arrive in
// pieces: the same matches, wherever the pieces end.
//
// What is found is what regexp.FindAllIndex finds in the whole: the leftmost match, the expression's preferred one of
// several that begin there, then on behind it. The standard library cannot be asked to go on where a piece ended.
package pattern

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"sync"
	"unicode/utf8"
)

const (
	// MaxLength bounds a pattern's text, in bytes: as the resources' own validation.
	MaxLength = 512
	// MaxSize bounds a compiled pattern, in instructions: each may cost a step for each character. A counted repetition
	// is as large as all its copies.
	MaxSize = 2000
	// MaxPatterns bounds the patterns of a target, each of which reads the whole stream.
	MaxPatterns = 16
)

// Pattern is a compiled expression, for any number of goroutines.
type Pattern struct {
	text  string
	prog  *syntax.Prog
	first [256]bool // bytes that a match may begin with; those from 0x80 on all or none

	searches sync.Pool // *Search
}

// String is the pattern's source text.
func (p *Pattern) String() string { return p.text }

// Compile reads a pattern. Refused are one that is no regular expression, that matches without a character (it says
// nothing of what to replace), or that is too large.
func Compile(text string) (*Pattern, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("the pattern is %d bytes long, at most %d are allowed", len(text), MaxLength)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	tree = tree.Simplify()
	if shortest(tree) == 0 {
		return nil, errors.New("the pattern matches the empty text: it has to ask for at least one character (x+ in place of x*)")
	}
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > MaxSize {
		return nil, fmt.Errorf("the pattern is too large (%d instructions, at most %d): use smaller counts in its repetitions", len(prog.Inst), MaxSize)
	}
	p := &Pattern{text: text, prog: prog}
	p.begin(uint32(prog.Start), make([]bool, len(prog.Inst)))
	return p, nil
}

// All calls with the matches in a whole text, in order.
func (p *Pattern) All(src []byte, with func(Span)) {
	s, ok := p.searches.Get().(*Search)
	if !ok {
		s = NewSearch(p)
	}
	s.Reset()
	s.End(src, 0)
	s.Spans(0, with)
	p.searches.Put(s)
}

// shortest is the least number of characters that a match has, at most 1: more is of no interest.
func shortest(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpNoMatch:
		return 1 // it matches nothing, nor the empty text
	case syntax.OpLiteral:
		return min(1, len(re.Rune))
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return shortest(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return shortest(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if shortest(sub) > 0 {
				return 1
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if shortest(sub) == 0 {
				return 0
			}
		}
		return 1
	}
	return 0
}

// begin notes what a match may begin with, from an instruction on. What is asserted of the neighbours counts as met.
func (p *Pattern) begin(pc uint32, seen []bool) {
	if seen[pc] {
		return
	}
	seen[pc] = true
	switch in := &p.prog.Inst[pc]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		p.begin(in.Out, seen)
		p.begin(in.Arg, seen)
	case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
		p.begin(in.Out, seen)
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		for c := range utf8.RuneSelf {
			if in.MatchRune(rune(c)) {
				p.first[c] = true
			}
		}
		// Folded, k and s are also U+212A and U+017F.
		if !plain(in) {
			for c := utf8.RuneSelf; c < len(p.first); c++ {
				p.first[c] = true
			}
		}
	}
}

// plain tells whether an instruction is for nothing but ASCII.
func plain(in *syntax.Inst) bool {
	if in.Op != syntax.InstRune && in.Op != syntax.InstRune1 {
		return false
	}
	if in.Op == syntax.InstRune && len(in.Rune) == 1 && syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		return false
	}
	for _, r := range in.Rune {
		if r >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
