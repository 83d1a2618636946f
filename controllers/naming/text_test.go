package naming

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for name, c := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"plain text stays as it is":                    {"UPDATE t SET a = 'ß→字'", 100, "UPDATE t SET a = 'ß→字'"},
		"line ends and tabs are one line":              {"a\r\n\tb", 100, `a\r\n\tb`},
		"terminal escapes are spelled out":             {"\x1b[2J\x07\x7f\u009b", 100, `\x1b[2J\x07\x7f\x9b`},
		"text cannot run backwards":                    {"a\u202eb\u2066c", 100, `a\u{202e}b\u{2066}c`},
		"spaces that do not look like one are seen":    {"a\u00a0b\u200bc", 100, `a\xa0b\u{200b}c`},
		"bytes that are no text are bytes":             {"a\xff\xfeb", 100, `a\xff\xfeb`},
		"the middle of what is too long is left out":   {strings.Repeat("a", 100) + strings.Repeat("b", 100), 60, strings.Repeat("a", 15) + " … (179 characters left out) … " + strings.Repeat("b", 6)},
		"a bound too small for a mark cuts":            {"abcdefghij", 5, "abcde"},
		"nothing is nothing":                           {"", 5, ""},
		"what fits in characters is not cut for bytes": {"ßßßßß", 5, "ßßßßß"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Escape(c.in, c.limit); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("SELECT 1", 80)
	f.Add("\x1b]0;title\x07"+strings.Repeat("\u202e", 500)+"DROP", 120)
	f.Add("\xff\xfe\xc3", 3)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		limit = 1 + (limit&0x7fffffff)%9000
		out := Escape(in, limit)
		if !utf8.ValidString(out) {
			t.Errorf("no UTF-8: %q", out)
		}
		if n := utf8.RuneCountInString(out); n > limit {
			t.Errorf("%d characters, at most %d are allowed", n, limit)
		}
		for _, r := range out {
			if !unicode.IsPrint(r) {
				t.Errorf("%U is not printable", r)
			}
		}
	})
}
