package shell

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// remote are the shells of this machine that stand for the one on the other side.
func remote(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"dash", "bash", "ksh", "mksh", "zsh", "busybox", "tcsh", "csh", "fish"} {
		if p, err := exec.LookPath(name); err == nil {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		t.Skip("no shell on this machine")
	}
	return found
}

func TestQuotedWordsAreReadExactly(t *testing.T) {
	words := []string{"", "a", "a b", "it's", `back\slash`, `\`, `'`, `''`, "!", "a!b", "!!", "$HOME", "`id`", "$(id)", "*", "~", "~root",
		"-n", "a=b", "{a,b}", "#", ";", "|", "&", "<", ">", "(", ")", `"`, "\t", " ", "é", "\xff", "^", "%", "=ls", "\x01", "a\\'!b", "'\\''"}
	for _, sh := range remote(t) {
		for _, word := range words {
			out, err := exec.Command(sh, "-c", "printf '%s.' "+Quote([]string{word, word})).Output()
			if err != nil || string(out) != word+"."+word+"." {
				t.Errorf("%s read %q as %q, %v", sh, word, out, err)
			}
		}
	}
}

func TestSimpleCommands(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"plain words":         {"ls -l /tmp", []string{"ls", "-l", "/tmp"}},
		"single quotes":       {"echo 'a b'", []string{"echo", "a b"}},
		"a pipe":              {"ls | cat", nil},
		"a variable":          {"ls $HOME", nil},
		"a redirection":       {"ls >f", nil},
		"an assignment":       {"A=b ls", nil},
		"a glob":              {"ls *", nil},
		"in the background":   {"ls &", nil},
		"a mistake":           {"ls )", nil},
		"nothing":             {"", nil},
		"more than a maximum": {"echo " + strings.Repeat("a", maxText), nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Simple(tc.text)
			if ok != (tc.want != nil) || !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}
