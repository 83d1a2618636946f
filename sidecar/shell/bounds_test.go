package shell

import (
	"errors"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// FuzzCommands holds what must be so for every text, without running it.
func FuzzCommands(f *testing.F) {
	for _, r := range rows(f) {
		f.Add(r.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := Commands(text)
		if err != nil {
			if _, ok := Simple(text); ok {
				t.Errorf("%q is simple, and refused: %v", text, err)
			}
			return
		}
		if len(found) > maxCommands+1 {
			t.Errorf("%d commands", len(found))
		}
		all := true
		for i := range found {
			all = all && found[i].Unresolved == ""
			if found[i].Unresolved == "" && (found[i].Path == policy.Unknown || found[i].Program == "") {
				t.Errorf("%q: %s is resolved", text, render(&found[i]))
			}
		}
		if words, ok := Simple(text); ok {
			again, ok := Simple(Quote(words))
			if !ok || strings.Join(again, "\x00") != strings.Join(words, "\x00") {
				t.Errorf("%q is %q, and in quotes %q, %v", text, words, again, ok)
			}
		}
		if canonical, ok := Canonical(text); ok && all {
			after, err := Commands(canonical)
			if err != nil || !equal(found, after) {
				t.Errorf("%q runs %q, and as %q %q, %v", text, renderAll(found), canonical, renderAll(after), err)
			}
		}
	})
}

func TestBounds(t *testing.T) {
	n := maxText
	nested := "ls"
	for range maxDepth + 4 {
		nested = "sudo sh -c " + Quote([]string{nested})
		if len(nested) > n/4 {
			break
		}
	}
	tests := map[string]struct {
		text string
		want error // nil: any
	}{
		"a text that is too long":   {"ls " + strings.Repeat("a", n), nil},
		"commands beyond number":    {strings.Repeat("a;", n/2), errTooMany},
		"pipes beyond number":       {strings.Repeat("a|", n/2-1) + "a", nil},
		"subshells":                 {strings.Repeat("(", n/2-1) + "a" + strings.Repeat(")", n/2-1), errTooDeep},
		"open subshells":            {strings.Repeat("(", n), errTooDeep},
		"substitutions":             {strings.Repeat("$(", n/2), errTooDeep},
		"quoted substitutions":      {strings.Repeat(`"$(`, n/3), errTooDeep},
		"groups":                    {strings.Repeat("{ ", n/2), errTooDeep},
		"conditions":                {strings.Repeat("if ", n/3), errTooDeep},
		"parameters":                {strings.Repeat("${a-", n/4), errTooDeep},
		"arithmetic":                {"echo $((" + strings.Repeat("(", n/2), errTooDeep},
		"negations in arithmetic":   {"echo $((" + strings.Repeat("!", n/2), nil},
		"sums in arithmetic":        {"echo $((" + strings.Repeat("1+", n/3) + "a))", errTooDeep},
		"backquotes":                {strings.Repeat("`", n), nil},
		"here-documents":            {"cat " + strings.Repeat("<<a ", n/8) + strings.Repeat("\na", n/8) + "\n", nil},
		"texts in texts":            {nested, nil},
		"wrappers in wrappers":      {strings.Repeat("env ", n/8) + "ls", errTooDeep},
		"functions":                 {strings.Repeat("a()", n/3), nil},
		"tests":                     {"[[ " + strings.Repeat("( ", n/4), nil},
		"evaluations of each other": {strings.Repeat("eval ", n/8) + "ls", errTooDeep},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			found, err := Commands(tc.text)
			if err == nil && len(found) > maxCommands+1 {
				t.Errorf("%d commands", len(found))
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got %d commands and %v, want %v", len(found), err, tc.want)
			}
		})
	}
}

// BenchmarkCommands shows that the time is linear: its rate stays as the text grows.
func BenchmarkCommands(b *testing.B) {
	for name, text := range map[string]string{
		"1KiB":   "echo '" + strings.Repeat("a b ", 256) + "' | cat && ls -l",
		"100KiB": "echo '" + strings.Repeat("a b ", 25600) + "' | cat && ls -l",
		"words":  "echo" + strings.Repeat(` "a" b`, 8000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Commands(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
