package shell

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// maxText bounds a text, in bytes: the longest single argument that Linux hands to a program (MAX_ARG_STRLEN). A server
// could not give a longer one to its shell.
const maxText = 128 << 10

// Commands returns every simple command that a POSIX shell (or bash) that is given text would run, in the order in
// which they stand: through pipes, lists, subshells, substitutions and functions, and through the wrappers and shells
// that it can see through. What cannot be resolved is in it as an Argv with Unresolved set, its words that cannot be
// told policy.Unknown; it is never left out. One Unknown argument stands for any number of words, none included.
//
// A program that changes for whom or where another runs (sudo, su, chroot, ssh) is a command of its own, before the one
// that it runs, which has it in Via. A program that only starts another in the same place (sh -c, env, nice, timeout,
// xargs) is in Via alone. A program that runs code that cannot be seen (python -c, awk, a shell that reads its standard
// input) is followed by a command of which nothing is known but Via and Unresolved.
//
// An error says that the text is no shell program (with line and column), that it is too long or too deep. A text that
// runs nothing (empty, a comment) yields no commands and no error.
func Commands(text string) ([]policy.Argv, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the command has %d bytes, more than %d", len(text), maxText)
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, fmt.Errorf("reading the command as a shell does: %w", err)
	}
	if len(file.Stmts) == 0 {
		return nil, nil
	}
	words, ok := simple(file)
	if !ok {
		return []policy.Argv{{Program: policy.Unknown, Path: policy.Unknown, Arguments: []string{policy.Unknown},
			Unresolved: "more than one simple command of plain words"}}, nil
	}
	return OfArgv(words)
}

// OfArgv is Commands for a command that no shell reads first (a Kubernetes exec: the kernel is given the words). An
// error says that there is no word, or that there are too many.
func OfArgv(argv []string) ([]policy.Argv, error) {
	if len(argv) == 0 {
		return nil, errors.New("the command has no words")
	}
	return []policy.Argv{{Program: path.Base(argv[0]), Path: argv[0], Arguments: argv[1:]}}, nil
}
