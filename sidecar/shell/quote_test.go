package shell

import (
	"os/exec"
	"slices"
	"testing"
)

// remote are the shells of this machine that stand for the one on the other side.
func remote(t *testing.T) [][]string {
	t.Helper()
	var found [][]string
	for _, words := range [][]string{{"dash"}, {"bash"}, {"ksh"}, {"ksh93"}, {"mksh"}, {"zsh"}, {"busybox", "ash"}, {"tcsh"}, {"csh"}, {"fish"}} {
		if _, err := exec.LookPath(words[0]); err == nil {
			found = append(found, words)
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
			out, err := exec.Command(sh[0], append(slices.Clone(sh[1:]), "-c", "printf '%s.' "+Quote([]string{word, word}))...).Output()
			if err != nil || string(out) != word+"."+word+"." {
				t.Errorf("%s read %q as %q, %v", sh, word, out, err)
			}
		}
	}
}
