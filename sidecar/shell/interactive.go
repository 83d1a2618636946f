package shell

import (
	"path"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Interactive reports whether argv is a shell or an interpreter that would read commands from its standard input or a
// terminal, so that what it is told never appears in a command: sh, bash -i, sudo -i, python3, sh /dev/stdin. A pager or
// an editor, which runs commands that are typed into it, is one as well; and so is what cannot be told.
func Interactive(argv []string) bool {
	if len(argv) == 0 {
		return true // the user's login shell
	}
	f, err := ofArgv(argv)
	return err != nil || f.err != nil || f.stdin || f.namesInput()
}

// namesInput tells whether something runs code that is not seen, and standard input or a terminal is named as a file: the
// code may be what is there.
func (f *finder) namesInput() bool {
	return slices.ContainsFunc(f.found, func(a policy.Argv) bool { return a.Unresolved != "" }) &&
		slices.ContainsFunc(f.found, func(a policy.Argv) bool { return slices.ContainsFunc(a.Arguments, isInput) })
}

// isInput tells whether a word names standard input, as most programs have it, or a file that is it or a terminal.
func isInput(word string) bool {
	if word == "-" || strings.HasSuffix(word, "=-") || len(word) == 3 && word[0] == '-' && word[2] == '-' { // -, --file=-, -f-
		return true
	}
	clean := path.Clean(word)
	for _, end := range []string{"dev/stdin", "fd/0", "dev/tty", "dev/console", "dev/ptmx"} {
		if strings.HasSuffix(clean, end) {
			return true
		}
	}
	return strings.Contains(clean, "dev/pts/")
}
