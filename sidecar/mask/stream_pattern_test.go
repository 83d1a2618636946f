package mask

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/mask/pattern"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func withPatterns(t testing.TB, patterns ...string) *Detectors {
	t.Helper()
	var rows []policy.Masking
	for _, p := range patterns {
		rows = append(rows, policy.Masking{Pattern: p})
	}
	d, err := Compile(rows)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// replacedAtOnce is the oracle: the standard library's matches in the whole text.
func replacedAtOnce(src string, patterns ...string) string {
	out := []byte(src)
	for _, p := range patterns {
		for _, m := range regexp.MustCompile(p).FindAllStringIndex(src, -1) {
			for i := m[0]; i < m[1]; i++ {
				if c := src[i]; c != 0 && c != '\n' && c != '\r' {
					out[i] = '*'
				}
			}
		}
	}
	return string(out)
}

func TestStreamMasksPatternsAcrossPieces(t *testing.T) {
	patterns := []string{`token=\w+`, `(?m)^secret: .*$`, `\bEMP-\d{6}\b`}
	d := withPatterns(t, patterns...)
	for name, text := range map[string]string{
		"in the middle":        "a token=abc_123, and more",
		"at the end":           "x EMP-123456",
		"line by line":         "secret: a\nno secret: b\nsecret: token=c\r\n",
		"a longer word":        "EMP-1234567 and xEMP-123456",
		"longer than a buffer": "token=" + strings.Repeat("x", 3*streamMatch) + " end",
		"many":                 strings.Repeat("the quick token=fox\n", 500),
		"nothing":              strings.Repeat("the quick brown fox\n", 500),
	} {
		want := replacedAtOnce(text, patterns...)
		if once, _ := d.Rewrite(nil, []byte(text)); string(once) != want {
			t.Errorf("%s at once: %q, want %q", name, once, want)
		}
		for _, size := range [...]int{1, 2, 3, 7, 33, 100, 4096} {
			if got := inPieces(d, []byte(text), func() int { return size }); got != want {
				t.Errorf("%s in pieces of %d: %q, want %q", name, size, got, want)
			}
		}
	}
}

func TestStreamHoldsBackNoMoreThanAPatternsPossibleMatch(t *testing.T) {
	d := withPatterns(t, `token=\w+;`)
	for text, held := range map[string]int{
		"hello ":  0,
		"a tok":   3,
		"token=a": 7,
		"token=" + strings.Repeat("x", 2*pattern.Longest): pattern.Longest,
	} {
		s := NewStream(d)
		out, _ := s.Write(nil, []byte(text))
		if s.Held() != held || len(out)+held != len(text) {
			t.Errorf("%.20q: %d bytes held back, %d passed on, want %d held", text, s.Held(), len(out), held)
		}
	}
}

func TestStreamRecognisesTheRestOfAPatternAfterAFlush(t *testing.T) {
	s := NewStream(withPatterns(t, `token=\w+;`))
	out, _ := s.Write(nil, []byte("token=ab"))
	out, _ = s.Flush(out)
	if string(out) != "token=ab" || s.Held() != 0 {
		t.Fatalf("%q was flushed", out)
	}
	if out, hits := s.Write(nil, []byte("cd; e")); string(out) != "*** e" || hits != 1 {
		t.Errorf("got %q (%d hits)", out, hits)
	}
}

// Rows and texts that are clear are not looked at again: none is, while a policy has patterns of its own.
func TestNothingIsClearBeforeAPolicysOwnPatterns(t *testing.T) {
	for name, d := range map[string]*Detectors{
		"patterns alone": withPatterns(t, `acct-[a-z]+`),
		"patterns and detectors": func() *Detectors {
			d, err := Compile([]policy.Masking{{Detectors: Names()}, {Pattern: `acct-[a-z]+`}})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			for _, src := range []string{"acct-plain", "nothing of the kind", "x"} {
				if n := d.Clear([]byte(src)); n != 0 || !d.May([]byte(src)) {
					t.Errorf("%d bytes of %q are clear", n, src)
				}
			}
			if text, _ := d.Text("of acct-plain", 0); text != "of **********" {
				t.Errorf("a text becomes %q", text)
			}
		})
	}
}

func TestPatternsOfColumnsAreNotForStreams(t *testing.T) {
	d, err := Compile([]policy.Masking{{Columns: []string{"a.b.c"}, Pattern: "x"}})
	if err != nil || !d.Empty() {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestAPatternThatCannotBeServedIsAnError(t *testing.T) {
	if _, err := Compile([]policy.Masking{{Pattern: "x*"}}); err == nil || !strings.Contains(err.Error(), "empty text") {
		t.Errorf("got %v", err)
	}
}

// FuzzStreamPatternsAgainstTheWhole takes streams apart anywhere; the standard library sees all at once.
func FuzzStreamPatternsAgainstTheWhole(f *testing.F) {
	f.Add(`token=\w+`, `(?s)a.*?b`, []byte("token=abc a\nb \xff"), uint64(1))
	f.Add(`(?m)^x.*$`, `"[^"]*"`, []byte("x\"a\"\r\nx \"b"), uint64(2))
	f.Fuzz(func(t *testing.T, one, other string, src []byte, seed uint64) {
		if len(src) > pattern.Patience || len(one)+len(other) > 64 {
			return
		}
		d, err := Compile([]policy.Masking{{Pattern: one}, {Pattern: other}})
		if err != nil || d.Empty() {
			return
		}
		var patterns []string
		for _, p := range d.patterns {
			patterns = append(patterns, p.String())
		}
		random := rand.New(rand.NewPCG(seed, 0))
		got := inPieces(d, src, func() int { return random.IntN(20) })
		if want := replacedAtOnce(string(src), patterns...); got != want {
			t.Fatalf("%q in %q\nin pieces %q\nat once   %q", patterns, src, got, want)
		}
	})
}
