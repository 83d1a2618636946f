package shell

import "strings"

// find runs commands for the files that it finds. What a file's name becomes is not known.
func find(f *finder, words []word, s scope) {
	for i, w := range words[1:] {
		if !w.known() || i+2 >= len(words) {
			continue
		}
		switch w.text {
		case "-fprint", "-fprint0", "-fprintf", "-fls":
			s.writes = joined(s.writes, []string{words[i+2].text})
		}
	}
	f.own(words, &s)
	for i := 1; i < len(words); i++ {
		w := words[i]
		if !w.known() {
			f.unseen(words[0], s, notFollowed)
			continue
		}
		switch w.text {
		case "-exec", "-execdir", "-ok", "-okdir":
		default:
			continue
		}
		var inner []word
		for i++; i < len(words); i++ {
			w := words[i]
			if w.known() && (w.text == ";" || w.text == "+" && len(inner) > 0 && inner[len(inner)-1].why == foundName) {
				break
			}
			if w.known() && strings.Contains(w.text, "{}") {
				w = unknown(foundName)
			}
			inner = append(inner, w)
		}
		if len(inner) > 0 {
			f.run(inner, s.within().through(viaName(words[0])))
		}
	}
}

const foundName = "find puts the names of files there"

// within is the scope of a command that a program runs: the redirections are those of the program.
func (s scope) within() scope {
	s.reads, s.writes = nil, nil
	return s
}

var xargsOptions = options{
	flags: "0rtxpo", args: "adEILnPs", attached: "eil",
	long:     []string{"null", "no-run-if-empty", "verbose", "exit", "interactive", "open-tty"},
	longArgs: []string{"arg-file", "delimiter", "max-args", "max-procs", "max-chars"}, longMay: []string{"eof", "replace", "max-lines"},
}

// xargs runs its words with more that it reads.
func xargs(f *finder, words []word, s scope) {
	given, operands, ok := xargsOptions.read(words[1:])
	if !ok {
		f.own(words, &s)
		f.unseen(words[0], s, notFollowed)
		return
	}
	inner := append([]word(nil), operands...)
	if len(inner) == 0 {
		inner = []word{{text: "echo"}}
	}
	const why = "xargs puts words there that it reads"
	replace := ""
	for _, o := range given {
		switch o.name {
		case "I", "i", "replace":
			if replace = o.value.text; replace == "" {
				replace = "{}"
			}
		case "a", "arg-file":
			s.reads = joined(s.reads, []string{o.value.text})
		}
	}
	if replace == "" {
		inner = append(inner, unknown(why))
	}
	for i, w := range inner {
		if replace != "" && strings.Contains(w.text, replace) {
			inner[i] = unknown(why)
		}
	}
	f.run(inner, s.through(viaName(words[0])))
}

// flock runs its words, or a text, while it holds a lock.
func flock(f *finder, words []word, s scope) {
	f.own(words, &s)
	o := options{flags: "sxeunoFv", args: "wE", long: []string{"shared", "exclusive", "unlock", "nonblock", "nb", "close", "no-fork", "verbose"},
		longArgs: []string{"timeout", "wait", "conflict-exit-code"}}
	_, operands, ok := o.read(words[1:])
	switch {
	case !ok || len(operands) > 0 && !operands[0].known():
		f.unseen(words[0], s, notFollowed)
	case len(operands) < 2:
	case operands[1].known() && (operands[1].text == "-c" || operands[1].text == "--command"):
		if len(operands) != 3 {
			f.unseen(words[0], s, notFollowed)
			return
		}
		f.given(operands[2], unknownShell, words[0], s)
	default:
		f.run(operands[1:], s.within().through(viaName(words[0])))
	}
}

// script runs a text, or a shell, and writes what it shows into a file.
func script(f *finder, words []word, s scope) {
	f.own(words, &s)
	o := options{flags: "aefq", args: "cEITOBmo", long: []string{"append", "return", "flush", "force", "quiet"},
		longArgs: []string{"command", "echo", "log-in", "log-out", "log-io", "log-timing", "logging-format", "output-limit"}}
	var text *word
	args := words[1:]
	for len(args) > 0 {
		given, operands, ok := o.read(args)
		if !ok {
			f.unseen(words[0], s, notFollowed)
			return
		}
		if t, is := last(given, "c", "command"); is {
			text = &t
		}
		// Options may stand behind the file too.
		args = nil
		if len(operands) > 0 {
			args = operands[1:]
		}
	}
	if text == nil {
		f.reads(words[0], s)
		return
	}
	f.given(*text, unknownShell, words[0], s)
}
