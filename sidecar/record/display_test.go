package record

import (
	"regexp"
	"strings"
	"testing"
)

func TestDisplayShowsWhatAScreenShowsAndNothingThatActs(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"text":                                   {"hello ☕ мир\r\n\tx\b", "hello ☕ мир\r\n\tx\b"},
		"colours":                                {"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"},
		"movement and erasure":                   {"\x1b[2J\x1b[1;1H\x1b[K\x1b[3A\x1b[10;20r", "\x1b[2J\x1b[1;1H\x1b[K\x1b[3A\x1b[10;20r"},
		"the alternate screen":                   {"\x1b[?1049h\x1b[?25l", "\x1b[?1049h\x1b[?25l"},
		"line drawing":                           {"\x1b(0lqk\x1b(B\x0e\x0f", "\x1b(0lqk\x1b(B\x0e\x0f"},
		"the cursor's shape":                     {"\x1b[4 q", "\x1b[4 q"},
		"saving the cursor":                      {"\x1b7\x1b8", "\x1b7\x1b8"},
		"no title":                               {"a\x1b]0;title\x07b", "ab"},
		"no title with ST":                       {"a\x1b]2;title\x1b\\b", "ab"},
		"no clipboard":                           {"a\x1b]52;c;cm0gLXJm\x07b", "ab"},
		"no link that says another thing":        {"\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\", "x"},
		"no device control":                      {"a\x1bP$qm\x1b\\b", "ab"},
		"no privacy message":                     {"a\x1b^x\x1b\\\x1b_y\x1b\\\x1bXz\x1b\\b", "ab"},
		"no question that the terminal answers":  {"\x1b[6n\x1b[c\x1b[>c\x1b[=c\x1b[?6n\x1b[5n\x1b[?25$p\x1b[18t\x1bZ", ""},
		"no reset":                               {"\x1bc\x1b[!p", ""},
		"no printing":                            {"\x1b[5i\x1b[?5i", ""},
		"no mouse, no paste mode, no focus":      {"\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[?1004h\x1b[?25;1003h", ""},
		"no keyboard modes":                      {"\x1b[>1u\x1b[<u\x1b[>4;2m", ""},
		"no bell, no enquiry":                    {"a\x07\x05b", "ab"},
		"no eight-bit controls":                  {"a\u009b6n\u009d0;x\u009cb", "a6n0;xb"},
		"no change of direction":                 {"a\u202eb\u2066c", "abc"},
		"no broken text":                         {"a\xffb\xc3", "ab"},
		"a sequence in a string does not count":  {"\x1b]0;\x1b[31m", "\x1b[31m"},
		"a string that never ends shows nothing": {"a\x1b]0;" + strings.Repeat("x", 1000), "a"},
		"a sequence that never ends is dropped":  {"a\x1b[" + strings.Repeat("1;", 100) + "mb\x07c", "ac"},
		"a cancelled sequence":                   {"\x1b[31\x18m", "m"},
		"a line end inside of a sequence":        {"\x1b[3\n1m", "\n\x1b[31m"},
		"an unknown escape":                      {"\x1b%Gx", "Gx"},
	} {
		var d Display
		if got := d.Filter(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		// The same, byte by byte where bytes are characters.
		var pieces Display
		got := ""
		for _, r := range c.in {
			if r == '\uFFFD' {
				got = c.want
				break
			}
			got += pieces.Filter(string(r))
		}
		if got != c.want {
			t.Errorf("%s, in pieces: got %q, want %q", name, got, c.want)
		}
	}
}

// displayed is every escape sequence that may come out.
var displayed = regexp.MustCompile("^(?:[^\x00-\x07\x10-\x1f\x7f]|\x1b\\[[0-9;:]*[@A-HJ-MPSTXZ`abd-gmrsuIf]|\x1b\\[\\?[0-9;]*[JKhl]|\x1b\\[4[hl]|\x1b\\[[0-9;:]* q|\x1b[78DEMH=>]|\x1b[()][AB0])*$")

func FuzzDisplay(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\x1b]0;x\x07\x1b[6n", 3)
	f.Add("\x1bP1$r\x1b\\\x1b[?1049h\u009b6n", 1)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		var d Display
		cut = min(max(0, cut), len(in))
		out := d.Filter(in[:cut]) + d.Filter(in[cut:])
		if !displayed.MatchString(out) {
			t.Fatalf("%q became %q", in, out)
		}
	})
}
