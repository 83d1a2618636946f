package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// effect is what a builtin of the shell does beside being a command.
type effect func(w *walker, words []word, s scope)

// builtin reports whether shells have a builtin of that name. Most do what a program of that name would.
func builtin(name string) bool {
	switch name {
	case ":", ".", "[", "bg", "cd", "chdir", "echo", "exit", "false", "fg", "jobs", "kill", "printf", "pwd", "return",
		"shift", "test", "times", "true", "type", "ulimit", "umask", "unalias", "wait", "break", "continue", "getopts", "":
		return true
	}
	return effectOf(name) != nil
}

func effectOf(name string) effect {
	switch name {
	case "eval":
		return evalText
	case "trap":
		return trap
	case "exec":
		return execute
	case "command":
		return command
	case "builtin":
		return (*walker).builtinOf
	case ".", "source":
		return source
	case "alias", "shopt", "enable", "hash", "bind", "complete", "compgen", "compopt", "fc", "history", "let", "coproc",
		"mapfile", "readarray", "setopt", "unsetopt", "emulate", "zmodload", "autoload", "functions", "print", "whence",
		"integer", "float", "nameref", "zle", "sched", "rehash", "limit", "onintr", "setvar", "noglob", "nocorrect", "-",
		"repeat", "foreach", "switch", "end", "begin", "and", "or", "not", "abbr", "set_color", "string", "math", "argparse":
		return unlike
	case "set":
		return set
	case "export", "readonly", "declare", "typeset", "local", "read", "getopts", "unset":
		return assign
	case "printf", "wait":
		return withVariable
	case "test", "[":
		return condition
	}
	return nil
}

// itself runs the words as a command.
func itself(w *walker, words []word, s scope) { w.emit(words, s) }

// unlike is for builtins that change how the text is read or what its names mean, or that only some shells have.
func unlike(w *walker, words []word, s scope) {
	itself(w, words, s)
	w.suspect(words[0].text + " may change what the text means, or is not the same in all shells")
}

// evalText reads its words, joined by spaces, as a text of the same shell (POSIX XCU 2.15).
func evalText(w *walker, words []word, s scope) {
	words = words[1:]
	if len(words) > 0 && words[0].text == "--" {
		words = words[1:]
	}
	w.inner(joinWords(words), "eval", s)
}

// trap reads its action as a text when the shell is signalled or ends.
func trap(w *walker, words []word, s scope) {
	itself(w, words, s)
	words = words[1:]
	if len(words) > 0 && words[0].text == "--" {
		words = words[1:]
	}
	if len(words) < 2 || words[0].known() && words[0].text == "-" {
		return
	}
	w.inner(words[0], "trap", s)
}

// inner finds the commands of a text that the same shell reads: what is doubtful about it is doubtful of the whole.
func (w *walker) inner(text word, by string, s scope) {
	s = s.through(by)
	if !text.known() {
		w.add(s.with(unseen(nil, by+" is given a text that is not known: "+text.why)))
		w.suspect(text.why)
		return
	}
	inner, err := w.readText(text.text, w.by, s.depth)
	switch {
	case err != nil:
		w.add(s.with(unseen(nil, by+" is given a text that is no program: "+err.Error())))
		w.suspect("it may end early")
	case inner.doubt != "":
		w.suspect(inner.doubt)
	case calls(inner, w.functions):
		w.suspect("it calls its functions from " + by)
	}
	if err := w.text(text.text, w.by, s); err != nil && w.err != nil {
		return
	}
}

// calls reports whether a command was found that is a function of the text around.
func calls(f *finder, functions map[string]bool) bool {
	for i := range f.found {
		if functions[f.found[i].Program] {
			return true
		}
	}
	return false
}

func joinWords(words []word) word {
	var b strings.Builder
	for i, w := range words {
		if !w.known() {
			return w
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return word{text: b.String()}
}

// execute replaces the shell by a program, or keeps its redirections.
func execute(w *walker, words []word, s scope) {
	_, operands, ok := (&options{}).read(words[1:])
	switch {
	case !ok:
		// bash has -a, -c and -l; others take them for the program.
		itself(w, words, s)
		w.unseen(words[0], s, notFollowed)
		w.suspect("exec has options that only some shells know")
	case len(operands) == 0:
		itself(w, words, s)
	default:
		w.run(operands, s.through("exec"))
	}
}

// command runs a program or builtin past the functions of the text, or only says where it is.
func command(w *walker, words []word, s scope) {
	given, operands, ok := (&options{flags: "pvV"}).read(words[1:])
	switch {
	case !ok:
		itself(w, words, s)
		w.unseen(words[0], s, notFollowed)
	case len(operands) == 0 || has(given, "v", "V"):
		itself(w, words, s)
	default:
		w.past(operands, "command", s)
	}
}

func (w *walker) builtinOf(words []word, s scope) {
	if len(words) == 1 {
		itself(w, words, s)
		return
	}
	w.suspect("builtin is not the same in all shells")
	w.past(words[1:], "builtin", s)
}

// past is a command that the shell does not look up among the functions of the text.
func (w *walker) past(words []word, by string, s scope) {
	inside := *w
	inside.functions = nil
	s = s.through(by)
	if s.depth > maxDepth {
		w.stop(errTooDeep)
		return
	}
	inside.invoke(words, s)
}

// source reads a file as a text of the same shell.
func source(w *walker, words []word, s scope) {
	itself(w, words, s)
	w.unseen(words[0], s, "it runs a file of commands that is not seen")
	w.suspect(words[0].text + " runs a file of commands that may change what the text means")
}

// set changes options of the shell, and its positional parameters. These options change nothing of what is read here.
func set(w *walker, words []word, s scope) {
	itself(w, words, s)
	for i, word := range words[1:] {
		if !word.known() {
			w.suspect("set is given an option that is not known")
			return
		}
		switch text := word.text; {
		case text == "--" || text == "-" || text == "" || text[0] != '-' && text[0] != '+':
			return
		case strings.Trim(text[1:], "euxvfC") == "":
		case (text == "-o" || text == "-eo" || text == "-euo" || text == "-ueo" || text == "-euxo") && i+2 < len(words) && shellOptions[words[i+2].text]:
			// Its name is the next word, which is looked at as one more.
			return
		default:
			w.suspect("set changes how the text is read")
			return
		}
	}
}

var shellOptions = map[string]bool{"pipefail": true, "errexit": true, "nounset": true, "xtrace": true, "noglob": true, "noclobber": true}

// assign is for builtins whose words are names of variables, with values or without: a name with a subscript is an
// expression, and some names change what runs.
func assign(w *walker, words []word, s scope) {
	itself(w, words, s)
	for i, word := range words[1:] {
		if !word.known() {
			w.suspect(words[0].text + " sets a variable that is not known")
			return
		}
		text := word.text
		if strings.HasPrefix(text, "-") {
			if words[0].text == "declare" || words[0].text == "typeset" || words[0].text == "local" {
				w.suspect(words[0].text + " is not the same in all shells")
			}
			if words[0].text == "unset" && text != "-v" {
				w.suspect("unset may change what a name means")
			}
			if words[0].text == "export" && text != "-p" || words[0].text == "readonly" && text != "-p" || words[0].text == "read" && text != "-r" {
				w.suspect(words[0].text + " is not the same in all shells")
			}
			continue
		}
		if words[0].text == "getopts" && i == 0 {
			continue // the options that it looks for
		}
		name, _, _ := strings.Cut(text, "=")
		if !syntax.ValidName(name) {
			w.suspect(words[0].text + " is given what is no name of a variable")
			return
		}
		if words[0].text == "export" && !harmlessEnvironment(name) || !harmlessVariable(name) {
			w.suspect("it sets " + name + ", which may change what runs")
			return
		}
	}
}

// withVariable is for builtins that set a variable if they are asked to.
func withVariable(w *walker, words []word, s scope) {
	itself(w, words, s)
	for _, word := range words[1:] {
		if !word.known() || strings.HasPrefix(word.text, "-v") || strings.HasPrefix(word.text, "-p") {
			w.suspect(words[0].text + " may set a variable that changes what runs")
			return
		}
		if words[0].text == "printf" {
			return // the format; what follows is data
		}
	}
}

// condition is test: bash evaluates a subscript in the name that -v is given.
func condition(w *walker, words []word, s scope) {
	itself(w, words, s)
	args := words[1:]
	if words[0].text == "[" && len(args) > 0 && args[len(args)-1].text == "]" && args[len(args)-1].known() {
		args = args[:len(args)-1]
	}
	open := false
	for i, a := range args {
		switch {
		case a.known() && (a.text == "-v" || a.text == "-R"):
			w.evaluates(s)
			return
		case !a.known():
			// Where an operator stands that is known, it is an operand.
			unary := i == 1 && len(args) == 2 && args[0].known() && strings.HasPrefix(args[0].text, "-")
			binary := len(args) == 3 && args[1].known() && (i == 0 || i == 2)
			negated := args[0].known() && args[0].text == "!" && len(args) == 3 && i == 2 && args[1].known()
			open = open || !unary && !binary && !negated
		}
	}
	if open {
		w.evaluates(s)
	}
}
