package pattern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// inPieces returns the matches in a text that is fed in pieces, of which no more is kept than the search asks for.
func inPieces(t *testing.T, p *Pattern, text []byte, size func() int) []Span {
	t.Helper()
	s := NewSearch(p)
	var buf []byte
	var offset int64
	for from := 0; from < len(text); {
		n := min(max(1, size()), len(text)-from)
		buf = append(buf, text[from:from+n]...)
		from += n
		s.Feed(buf, offset)
		decided, needs := s.Decided(), s.Needs()
		if decided > int64(from) || int64(from)-decided > Longest+3 {
			t.Fatalf("%q of %d bytes %d are decided", p, from, decided)
		}
		if int64(from)-needs > Patience+3 {
			t.Fatalf("%q asks for %d bytes", p, int64(from)-needs)
		}
		buf, offset = buf[needs-offset:], needs
	}
	s.End(buf, offset)
	var out []Span
	s.Spans(0, func(m Span) { out = append(out, m) })
	return out
}

// atOnce are the matches that the standard library finds in the whole.
func atOnce(text string, src []byte) (out []Span) {
	for _, m := range regexp.MustCompile(text).FindAllIndex(src, -1) {
		out = append(out, Span{int64(m[0]), int64(m[1])})
	}
	return out
}

func TestMatchesAreThoseOfTheWholeWhereverPiecesEnd(t *testing.T) {
	for _, c := range []struct{ pattern, text string }{
		{`token=\w+`, "a token=abc_123, token=x token= token=é"},
		{`(?i)password:\s*\S+`, "PassWord:   hunter2\nPASSWORD:\n\n  x"},
		{`(?m)^secret.*$`, "secret a\nno secret b\r\nsecret c"},
		{`^a|b$`, "aab ab\nb"},
		{`\bEMP-\d{6}\b`, "EMP-123456 EMP-1234567 xEMP-123456 EMP-000000"},
		{`"[^"]*"`, `a "b" c "d" "e`},
		{`a|ab`, "ab aab"},
		{`ab|a`, "ab aab"},
		{`a+?`, "aaaa"},
		{`(?s)BEGIN.*?END`, "BEGIN a\nb END BEGIN END BEGIN"},
		{`(?s)BEGIN.*END`, "x BEGIN a\nb END BEGIN END BEGIN"},
		{`x|a.*b`, "axxb ax\nxab"},
		{`[äöü]+`, "grün öä \xc3 \xc3\xa4\xff"},
		{`.`, "a\nb\xffc\U0001F600\xf0\x9f"},
		{`(?i)K`, "kK\u212a"},
		{`[^a]`, "ab\xe2\x82ac\xe2"},
		{`aa`, "aaaaa"},
		{`a\B.`, "aa a aab"},
		{`\d{3}$`, "123 456"},
		{`(?:a|b)*c`, "ababc abab"},
		{`x$`, "x\nx"},
		{`\x00+`, "a\x00\x00b"},
	} {
		p, err := Compile(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		want := atOnce(c.pattern, []byte(c.text))
		for _, size := range []int{1, 2, 3, 5, 7, 100} {
			if got := inPieces(t, p, []byte(c.text), func() int { return size }); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q in %q in pieces of %d: got %v, want %v", c.pattern, c.text, size, got, want)
			}
		}
	}
}

func TestALongMatchIsDecidedAsItComes(t *testing.T) {
	p, _ := Compile(`key=\S+`)
	s := NewSearch(p)
	text := []byte("key=" + strings.Repeat("x", 100_000))
	s.Feed(text, 0)
	if got := int64(len(text)) - s.Decided(); got > 1 {
		t.Errorf("%d bytes are held back of a match that is one already", got)
	}
	if got := int64(len(text)) - s.Needs(); got > 1 {
		t.Errorf("%d bytes are kept", got)
	}
}

func TestNoMoreIsHeldBackThanTheBound(t *testing.T) {
	p, _ := Compile(`(?s)BEGIN.*END|x`)
	s := NewSearch(p)
	text := []byte("BEGIN" + strings.Repeat(".", 3*Longest))
	s.Feed(text, 0)
	if got := int64(len(text)) - s.Decided(); got != Longest {
		t.Errorf("%d bytes are held back, want %d", got, Longest)
	}
	// What comes late is still a match, for what has not been passed on.
	s.Feed([]byte("END."), int64(len(text)))
	var got []Span
	s.Spans(0, func(m Span) { got = append(got, m) })
	if want := []Span{{0, int64(len(text)) + 3}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestASearchForABetterMatchEnds(t *testing.T) {
	p, _ := Compile(`x|(?s)a.*b`)
	text := []byte(strings.Repeat("ax", 3*Patience))
	got := inPieces(t, p, text, func() int { return 1000 })
	if len(got) != 3*Patience {
		t.Errorf("%d matches, want %d", len(got), 3*Patience)
	}
}

func TestIfItEndedChangesNothing(t *testing.T) {
	p, _ := Compile(`\b\d{3}\b`)
	s := NewSearch(p)
	s.Feed([]byte("a 123"), 0)
	ended := s.IfItEnded(nil, []byte(""), 5)
	count := func(s *Search) (n int) { s.Spans(0, func(Span) { n++ }); return n }
	if count(ended) != 1 || count(s) != 0 {
		t.Errorf("if it ended %d, so far %d, want 1 and 0", count(ended), count(s))
	}
	s.Feed([]byte("4"), 5)
	if s.End(nil, 6); count(s) != 0 {
		t.Errorf("%d matches in a longer number", count(s))
	}
}

// FuzzSearchAgainstTheWhole compares with the standard library, which sees all at once.
func FuzzSearchAgainstTheWhole(f *testing.F) {
	f.Add(`token=\w{1,20}\b|x`, []byte("token=abcx token=é \xff"), uint64(1))
	f.Add(`(?im)^\s*pass.*?$`, []byte("password\n passé\r\n"), uint64(2))
	f.Add(`"[^"]*"|b+?c`, []byte(`"a" bbbc "bc`), uint64(3))
	f.Add(`(?s)a.*b|x`, []byte("axxaxxbx"), uint64(4))
	f.Fuzz(func(t *testing.T, text string, src []byte, seed uint64) {
		if len(src) > Patience { // beyond it a search gives up where the standard library goes on
			return
		}
		p, err := Compile(text)
		if err != nil {
			return
		}
		if len(p.prog.Inst)*len(src) > 1<<16 {
			return // long, not wrong
		}
		re, err := regexp.Compile(text)
		if err != nil {
			t.Fatalf("%q is taken here and not there: %v", text, err)
		}
		if re.MatchString("") {
			t.Fatalf("%q matches the empty text", text)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		got := inPieces(t, p, bytes.Clone(src), func() int { return random.IntN(10) })
		if want := atOnce(text, src); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q in %q: got %v, want %v", text, src, got, want)
		}
	})
}
