package shell

import (
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// call is a simple command of a text.
func (w *walker) call(call *syntax.CallExpr, s scope) {
	if len(call.Args) == 0 {
		w.assignments(call.Assigns, true, &s)
		if len(s.reads)+len(s.writes) > 0 || s.why != "" {
			w.null(s)
		}
		return
	}
	w.assignments(call.Assigns, false, &s)
	words := make([]word, len(call.Args))
	for i, arg := range call.Args {
		words[i] = w.word(arg, s)
	}
	w.invoke(words, s)
}

// declaration is export, readonly, declare, local or typeset, which the parser tells apart where bash does.
func (w *walker) declaration(cmd *syntax.DeclClause, s scope) {
	words := []word{{text: cmd.Variant.Value}}
	for _, a := range cmd.Args {
		if a.Index != nil || a.Array != nil || a.Append {
			w.assignments([]*syntax.Assign{a}, true, &s)
			words = append(words, unknown("an assignment that only some shells know"))
			continue
		}
		value := word{}
		if a.Value != nil {
			value = w.word(a.Value, s)
		}
		switch {
		case a.Name == nil || !value.known():
			words = append(words, value)
		case a.Naked:
			words = append(words, word{text: a.Name.Value})
		default:
			words = append(words, word{text: a.Name.Value + "=" + value.text})
		}
	}
	w.invoke(words, s)
}

// invoke is a simple command whose words are read: a function of the text, a builtin of the shell, or a program.
func (w *walker) invoke(words []word, s scope) {
	if first := words[0]; first.known() {
		if strings.HasPrefix(first.text, "%") {
			w.suspect("it steers a job of the shell")
		}
		isFunction := w.functions[first.text]
		if isFunction {
			s = s.because(first.text + " is a function of the text")
		}
		if isFunction || builtin(first.text) {
			if name := dangerous(s.assigns); name != "" {
				// Before a special builtin or a function an assignment stays, in some shells (POSIX XCU 2.9.1.2).
				w.suspect("it sets " + name + ", which may change what runs")
			}
		}
		if effect := effectOf(first.text); effect != nil {
			effect(w, words, s)
			return
		}
	}
	w.run(words, s)
}

// run finds the commands that the operating system runs when it is given the words: the program, and what that runs.
func (f *finder) run(words []word, s scope) {
	if f.err != nil {
		return
	}
	if s.depth > maxDepth {
		f.stop(errTooDeep)
		return
	}
	first := words[0]
	if !first.known() {
		f.emit(words, s.because(first.why))
		return
	}
	if strings.Contains(first.text, "/") && !systemProgram(first.text) {
		// Whatever it is called, it need not be what is known by that name.
		f.own(words, &s)
	}
	name := path.Base(first.text)
	if follow := runnerOf(name); follow != nil {
		follow(f, words, s)
		return
	}
	f.own(words, &s)
	f.changed(words[0], s)
}

// changed adds what a program may run because of the variables that are set for it.
func (f *finder) changed(program word, s scope) {
	if name := dangerous(s.assigns); name != "" {
		f.unseen(program, s, "it is run with "+name+" set, which may change what it does")
	}
}

// systemProgram reports whether the path is in a folder of the system's own programs.
func systemProgram(file string) bool {
	switch path.Dir(file) {
	case "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin":
		return path.Clean(file) == file
	}
	return false
}

// own adds the words as a command of their own, once.
func (f *finder) own(words []word, s *scope) {
	if s.named {
		return
	}
	s.named = true
	f.emit(words, *s)
}

// emit adds the words as a command.
func (f *finder) emit(words []word, s scope) {
	a := policy.Argv{Path: words[0].text, Program: policy.Unknown}
	switch {
	case !words[0].known():
		s = s.because(words[0].why)
	case words[0].text == "":
		a.Path = policy.Unknown
		s = s.because("its program has no name")
	default:
		a.Program = path.Base(a.Path)
		if strings.Contains(a.Path, "/") && !strings.HasPrefix(a.Path, "/") {
			s = s.because("its program is below a folder that is not known")
		}
	}
	if len(words) > 1 {
		a.Arguments = make([]string, len(words)-1)
	}
	for i, w := range words[1:] {
		a.Arguments[i] = w.text
		if !w.known() {
			s = s.because(w.why)
		}
	}
	f.add(s.with(a))
}

// unseen adds a command that the program runs and of which nothing is known.
func (f *finder) unseen(program word, s scope, why string) {
	s = s.through(viaName(program))
	s.why = ""
	f.add(s.with(unseen(nil, why)))
}

// viaName is how a program stands in Argv.Via: by its name where that says which it is, else by its path.
func viaName(program word) string {
	if strings.Contains(program.text, "/") && !systemProgram(program.text) {
		return program.text
	}
	return path.Base(program.text)
}
