package pattern

import (
	"strings"
	"testing"
)

func TestCompileRefusesWhatCannotBeServed(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"one that is no expression":                  {"(", "missing closing )"},
		"a back reference, which RE2 does not have":  {`(a)\1`, "invalid escape sequence"},
		"an empty one":                               {"", "empty text"},
		"one that may match nothing":                 {"x*", "empty text"},
		"one that asserts and takes nothing":         {`\b`, "empty text"},
		"an alternative that takes nothing":          {"abc|", "empty text"},
		"a repetition that may be none":              {"(ab){0,3}", "empty text"},
		"one that is too long":                       {strings.Repeat("x", MaxLength+1), "513 bytes long"},
		"a repetition over the syntax's bound":       {"a{1001}", "invalid repeat count"},
		"repetitions that are too large when copied": {`([a-z][0-9]\pL){900}`, "too large"},
		"bytes that are no characters":               {"a\xff", "invalid UTF-8"},
	} {
		if _, err := Compile(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestCompileTakesWhatIsInUse(t *testing.T) {
	for _, text := range []string{
		`token=[A-Za-z0-9_-]{20,200}`, `(?i)password\s*[:=]\s*\S+`, `(?m)^secret:.*$`, `\bEMP-\d{6}\b`, `eyJ[\w-]+\.[\w-]+\.[\w-]+`,
		`x|y+`, `(?:ab)+c*`, `\pL+`, `.`, strings.Repeat("x", MaxLength), `[a-z]{1,900}`, `$x`,
	} {
		p, err := Compile(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if p.String() != text {
			t.Errorf("%q reads %q", text, p)
		}
	}
}
