package shell

import (
	"errors"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

const (
	// maxText bounds a text, in bytes: the longest single argument that Linux hands to a program (MAX_ARG_STRLEN). A
	// server could not give a longer one to its shell.
	maxText = 128 << 10
	// maxWords bounds the words of an argv; the text that they would make is bounded by maxText.
	maxWords = 32 << 10
	// maxCommands bounds how many commands are found: each is judged and recorded by itself, and a person who approves
	// them reads them all.
	maxCommands = 512
	// maxDepth bounds how deep texts are nested in one another (sh -c "sh -c ..."), and wrappers in wrappers.
	maxDepth = 16
	// maxRead bounds the bytes of all texts that are nested in one, itself included.
	maxRead = 4 * maxText
)

var (
	errTooMany = fmt.Errorf("the command runs more than %d commands", maxCommands)
	errTooDeep = errors.New("the command is nested too deeply")
)

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
	f := newFinder()
	if err := f.text(text, unknownShell, scope{}); err != nil {
		return nil, err
	}
	return f.result()
}

// OfArgv is Commands for a command that no shell reads first (a Kubernetes exec: the kernel is given the words). An
// error says that there is no word, that there are too many, or that a text in them is too deep.
func OfArgv(argv []string) ([]policy.Argv, error) {
	f, err := ofArgv(argv)
	if err != nil {
		return nil, err
	}
	return f.result()
}

func ofArgv(argv []string) (*finder, error) {
	if len(argv) == 0 {
		return nil, errors.New("the command has no words")
	}
	size := 0
	words := make([]word, len(argv))
	for i, text := range argv {
		size += len(text) + 1
		words[i] = word{text: text}
	}
	if size > maxText || len(argv) > maxWords {
		return nil, fmt.Errorf("the command has %d words with %d bytes, more than %d or %d", len(argv), size, maxWords, maxText)
	}
	f := newFinder()
	f.run(words, scope{})
	return f, nil
}

// finder collects the commands of one text or argv.
type finder struct {
	found []policy.Argv
	// err is what stops it: a bound.
	err error
	// doubt, where not empty, says why a shell could make something else of the whole text than what was found.
	doubt string
	// stdin says that a program was found that reads its commands from standard input or a terminal.
	stdin bool
	*readings
}

// readings keeps what was found in the texts that are nested in one: each is reached again for every way in which the
// text around it is read.
type readings struct {
	of map[reading]outcomeOf
	// size is how many bytes were read, of all texts.
	size int
}

type reading struct {
	text string
	by   dialect
}

type outcomeOf struct {
	finder *finder
	err    error
}

func newFinder() *finder { return &finder{readings: &readings{of: make(map[reading]outcomeOf)}} }

// result marks what was found with the doubts about the text that it was found in.
func (f *finder) result() ([]policy.Argv, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.doubt == "" {
		return f.found, nil
	}
	for i := range f.found {
		if f.found[i].Unresolved == "" {
			f.found[i].Unresolved = f.doubt
		}
	}
	return append(f.found, unseen(nil, f.doubt)), nil
}

// unseen is a command of which nothing is known.
func unseen(via []string, why string) policy.Argv {
	return policy.Argv{Program: policy.Unknown, Path: policy.Unknown, Arguments: []string{policy.Unknown}, Via: via, Unresolved: why}
}

func (f *finder) add(a policy.Argv) {
	if len(f.found) >= maxCommands {
		f.stop(errTooMany)
		return
	}
	f.found = append(f.found, a)
}

func (f *finder) stop(err error) {
	if f.err == nil {
		f.err = err
	}
}

// suspect notes that a shell could make something else of the whole text.
func (f *finder) suspect(why string) {
	if f.doubt == "" {
		f.doubt = why
	}
}

// scope is what is around a command.
type scope struct {
	// via are the programs that it was found through.
	via []string
	// assigns, reads and writes belong to it.
	assigns, reads, writes []string
	// why says that something around it makes it unresolved.
	why string
	// by is the shell that reads the word in front, no shell where the kernel does.
	by dialect
	// named says that the program in front is a command of its own already.
	named bool
	// substituted says that it stands in a substitution of the text.
	substituted bool
	depth       int
}

// through is the scope of what the program runs.
func (s scope) through(program string) scope {
	via := make([]string, 0, len(s.via)+1)
	s.via = append(append(via, s.via...), program)
	s.by, s.named = noShell, false
	s.depth++
	return s
}

func (s scope) because(why string) scope {
	if s.why == "" {
		s.why = why
	}
	return s
}
