package shell

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// dialect says which shell reads a text.
type dialect int

const (
	noShell      dialect = iota
	unknownShell         // any POSIX shell, bash among them
	posixShell           // one that has nothing of bash's: dash, busybox ash
	bashShell
)

var variants = map[dialect][]syntax.LangVariant{
	unknownShell: {syntax.LangPOSIX, syntax.LangBash},
	posixShell:   {syntax.LangPOSIX},
	bashShell:    {syntax.LangBash},
}

// text finds the commands of a text that a shell reads. Where it is not known which shell, it is read as each would,
// and what they do not agree on is unresolved.
func (f *finder) text(text string, by dialect, around scope) error {
	if around.depth > maxDepth {
		f.stop(errTooDeep)
		return errTooDeep
	}
	inner, err := f.readText(text, by, around.depth)
	if err != nil {
		if errors.Is(err, errTooDeep) {
			f.stop(err)
		}
		return err
	}
	for _, a := range inner.found {
		f.add(around.with(a))
	}
	f.stdin = f.stdin || inner.stdin
	if inner.err != nil {
		f.stop(inner.err)
	}
	if inner.doubt != "" {
		f.add(around.with(unseen(nil, inner.doubt)))
	}
	return nil
}

// with is a command as it is found in that scope.
func (s scope) with(a policy.Argv) policy.Argv {
	a.Via = joined(s.via, a.Via)
	a.Assignments = joined(s.assigns, a.Assignments)
	a.Reads = joined(s.reads, a.Reads)
	a.Writes = joined(s.writes, a.Writes)
	if a.Unresolved == "" {
		a.Unresolved = s.why
	}
	if name := dangerous(s.assigns); name != "" && a.Unresolved == "" {
		a.Unresolved = "it is run with " + name + " set, which may change what it does"
	}
	return a
}

func joined(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	return append(append(make([]string, 0, len(a)+len(b)), a...), b...)
}

// readText returns a finder with the commands of text alone, marked with the doubts about it.
func (f *finder) readText(text string, by dialect, depth int) (*finder, error) {
	key := reading{text, by}
	r, ok := f.of[key]
	if !ok {
		if f.size += len(text); f.size > maxRead {
			return nil, errTooDeep
		}
		r.finder, r.err = f.readAnew(text, by, depth)
		f.of[key] = r
	}
	return r.finder, r.err
}

func (f *finder) readAnew(text string, by dialect, depth int) (*finder, error) {
	doubt, err := inspect(text)
	if err != nil {
		return nil, err
	}
	var read []*finder
	var wrong error
	for _, variant := range variants[by] {
		file, err := parse(text, variant)
		if err != nil {
			if errors.Is(err, errTooDeep) {
				return nil, err
			}
			wrong = err
			continue
		}
		one := &finder{readings: f.readings, doubt: doubt}
		w := walker{finder: one, by: by, source: text}
		w.declared(file)
		w.stmts(file.Stmts, scope{by: by, depth: depth})
		read = append(read, one)
	}
	var out *finder
	switch {
	case len(read) == 0:
		return nil, wrong
	case len(read) == 1:
		out = read[0]
		if wrong != nil {
			out.suspect("not every shell reads it: " + wrong.Error())
		}
	default:
		out = agreed(read[0], read[1])
	}
	if out.doubt != "" {
		for i := range out.found {
			if out.found[i].Unresolved == "" {
				out.found[i].Unresolved = out.doubt
			}
		}
	}
	return out, nil
}

// agreed is what two shells run of one text: where they do not run the same, all that either runs, unresolved.
func agreed(a, b *finder) *finder {
	a.stdin = a.stdin || b.stdin
	if b.err != nil {
		a.stop(b.err)
	}
	if b.doubt != "" {
		a.suspect(b.doubt)
	}
	if equal(a.found, b.found) {
		return a
	}
	a.suspect("shells read it differently")
	for _, c := range b.found {
		a.add(c)
	}
	return a
}

func equal(a, b []policy.Argv) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equalArgv(&a[i], &b[i]) {
			return false
		}
	}
	return true
}

func equalArgv(a, b *policy.Argv) bool {
	if a.Program != b.Program || a.Path != b.Path || (a.Unresolved == "") != (b.Unresolved == "") {
		return false
	}
	for _, pair := range [][2][]string{{a.Arguments, b.Arguments}, {a.Via, b.Via}, {a.Assignments, b.Assignments}, {a.Reads, b.Reads}, {a.Writes, b.Writes}} {
		if len(pair[0]) != len(pair[1]) {
			return false
		}
		for i := range pair[0] {
			if pair[0][i] != pair[1][i] {
				return false
			}
		}
	}
	return true
}

// inspect looks at a text's characters before it is parsed: shells and the parser do not agree on all of them.
func inspect(text string) (doubt string, err error) {
	if len(text) > maxText {
		return "", fmt.Errorf("the command has %d bytes, more than %d", len(text), maxText)
	}
	for i, r := range text {
		switch {
		case r == '\n' || r == '\t' || r >= ' ' && r < 0x7f:
		case r == 0:
			// A program's argument ends at the first NUL: the shell would be given less than what is judged here.
			return "", fmt.Errorf("byte %d of the command is NUL", i)
		case r == utf8.RuneError:
			doubt = "it holds bytes that are not UTF-8"
		case r < ' ' || !unicode.IsGraphic(r) || unicode.IsSpace(r):
			// A carriage return is a character of a word for shells and white space for the parser; bash marks quotes
			// with 0x01 and 0x7f inside words; what else is a blank depends on the server's locale.
			doubt = fmt.Sprintf("it holds the character %U, which shells do not read alike", r)
		}
	}
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		doubt = "a shell that is given it as the argument of -c takes it for an option"
	}
	if strings.Contains(text, "\\\n") && (strings.Contains(text, "#") || strings.Contains(text, "<<")) {
		// A comment ends at its line's end whatever is before it, and a here-document's line is joined before or after
		// it is compared with the delimiter: readers differ.
		doubt = "it continues a line where there may be a comment or a here-document"
	}
	return doubt, nil
}

// parse reads a text. Its errors name line and column. A fault of the parser is an error of the text.
func parse(text string, variant syntax.LangVariant) (file *syntax.File, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			file, err = nil, fmt.Errorf("reading the command as a shell does: %v", fault)
		}
	}()
	file, err = syntax.NewParser(syntax.Variant(variant)).Parse(&shallow{text: text}, "")
	switch {
	case errors.Is(err, errTooDeep):
		return nil, errTooDeep
	case err != nil:
		return nil, fmt.Errorf("reading the command as a shell does: %w", err)
	}
	return file, nil
}

const (
	// maxFrames bounds the parser's recursion, in stack frames: some five of them make one level of nesting.
	maxFrames = 1024
	// step is how many bytes the parser is given at once, and so by how many levels the bound may be exceeded.
	step = 256
)

// shallow gives a text to the parser in pieces, and stops it when it has gone too deep: the parser is recursive and has
// no bound of its own.
type shallow struct {
	text   string
	frames [maxFrames]uintptr
}

// Read implements io.Reader.
func (s *shallow) Read(p []byte) (int, error) {
	if len(s.text) == 0 {
		return 0, io.EOF
	}
	if runtime.Callers(0, s.frames[:]) == maxFrames {
		return 0, errTooDeep
	}
	n := copy(p[:min(len(p), step)], s.text)
	s.text = s.text[n:]
	return n, nil
}
