package naming_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/controllers/naming"
)

func TestANoteIsNeverTooLongForAnEvent(t *testing.T) {
	for name, text := range map[string]string{
		"short":                         "approved by alice",
		"as long as it may be":          strings.Repeat("x", 1024),
		"too long":                      strings.Repeat("x", 1025),
		"too long, in three-byte signs": "a" + strings.Repeat("€", 400),
	} {
		t.Run(name, func(t *testing.T) {
			got := naming.Note(text)
			switch {
			case len(got) > 1024:
				t.Errorf("%d bytes", len(got))
			case !utf8.ValidString(got):
				t.Errorf("cut inside a character: %q", got[len(got)-8:])
			case len(text) <= 1024 && got != text:
				t.Errorf("cut although it fits: %q", got)
			case len(text) > 1024 && !strings.HasSuffix(got, " …"):
				t.Errorf("does not say that it was cut: %q", got[len(got)-8:])
			}
		})
	}
}
