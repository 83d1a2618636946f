package session_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

func TestJustification(t *testing.T) {
	mask := func(text string, limit int) (string, int) {
		masked := strings.ReplaceAll(text, "4111111111111111", "[redacted]")
		return masked[:min(limit, len(masked))], len(text)
	}
	tests := map[string]struct {
		words string
		clean func(string, int) (string, int)
		want  string
	}{
		"words are passed on":                  {words: "ticket 4711", want: "ticket 4711"},
		"space around them is not":             {words: " \n ticket 4711\t", want: "ticket 4711"},
		"nothing stays nothing":                {},
		"what the policy protects is masked":   {words: "card 4111111111111111 bounced", clean: mask, want: "card [redacted] bounced"},
		"bytes that are no text are replaced":  {words: "a\xffb", want: "a\uFFFDb"},
		"a flood is cut":                       {words: strings.Repeat("x", 1<<20), want: strings.Repeat("x", 512) + "…"},
		"a cut does not go through a rune":     {words: strings.Repeat("x", 511) + "é and more", want: strings.Repeat("x", 511) + "…"},
		"a flood of what is no text is cut":    {words: strings.Repeat("\x80", 1<<20), want: "\uFFFD"},
		"a flood that ends in half a rune too": {words: strings.Repeat("é", 1<<20), want: strings.Repeat("é", 256) + "…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := session.Justification(tt.words, tt.clean)
			if got != tt.want || !utf8.ValidString(got) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}
