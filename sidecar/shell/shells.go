package shell

import (
	"slices"
	"strings"
)

// shells are the names under which shells are installed.
var shells = map[string]bool{
	"sh": true, "bash": true, "dash": true, "ash": true, "ksh": true, "ksh93": true, "mksh": true, "oksh": true, "lksh": true,
	"pdksh": true, "yash": true, "zsh": true, "rbash": true, "rksh": true, "rzsh": true, "posh": true, "hush": true, "csh": true,
	"tcsh": true, "fish": true, "pwsh": true, "elvish": true, "nu": true, "xonsh": true, "osh": true, "ysh": true,
	"bash-static": true, "zsh5": true, "rc": true, "es": true, "scsh": true, "gosh": true, "mvdan-sh": true,
}

// dialects are the shells whose language is read here.
var dialects = map[string]dialect{
	"sh": unknownShell, "dash": posixShell, "ash": posixShell, "bash": bashShell, "bash-static": bashShell,
}

// shellRuns finds what a shell runs that is started with words: the text of -c, or what cannot be seen (a file of
// commands, standard input).
func shellRuns(f *finder, words []word, s scope) {
	by, known := dialects[viaName(words[0])]
	if !known {
		f.own(words, &s)
		f.stdin = f.stdin || !slices.ContainsFunc(words[1:], func(w word) bool {
			return w.known() && strings.HasPrefix(w.text, "-") && strings.HasSuffix(w.text, "c")
		})
		f.unseen(words[0], s, "it is a shell whose language is not read here")
		return
	}
	start, ok := shellOptionsOf(words[1:])
	switch {
	case !ok:
		f.own(words, &s)
		f.stdin = true // until they are known
		f.unseen(words[0], s, notFollowed)
	case start.text && len(start.operands) > 0:
		if start.interactive {
			// It reads its files for terminals first, and then only the text.
			f.own(words, &s)
		}
		f.given(start.operands[0], by, words[0], s)
	case start.text: // a mistake
		f.own(words, &s)
	case start.stdin || len(start.operands) == 0:
		f.own(words, &s)
		f.reads(words[0], s)
	default:
		f.own(words, &s)
		f.unseen(words[0], s, "it runs a file of commands that is not seen")
	}
}

// start is how a shell was started.
type start struct {
	text, stdin, interactive bool
	operands                 []word
}

// shellOptionsOf reads the words behind a shell's name (POSIX XCU sh; bash and dash). It is not ok where one is not known
// or changes how a text is read.
func shellOptionsOf(words []word) (s start, ok bool) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case !w.known():
			return s, false
		case w.text == "--" || w.text == "-":
			s.operands = words[i+1:]
			return s, true
		case strings.HasPrefix(w.text, "--"):
			switch w.text {
			case "--login", "--noprofile", "--norc", "--noediting", "--posix", "--verbose":
			default:
				return s, false
			}
		case len(w.text) > 1 && (w.text[0] == '-' || w.text[0] == '+'):
			for _, letter := range w.text[1:] {
				switch letter {
				case 'c':
					s.text = s.text || w.text[0] == '-'
				case 's':
					s.stdin = true
				case 'i':
					s.interactive = true
				case 'o':
					if i++; i == len(words) || !words[i].known() || !shellOptions[words[i].text] {
						return s, false
					}
				case 'e', 'u', 'x', 'v', 'f', 'l', 'C', 'b', 'm', 'p':
				default:
					return s, false
				}
			}
		default:
			s.operands = words[i:]
			return s, true
		}
	}
	return s, true
}

// applet finds what an applet of busybox or toybox runs, which is what a program of its name would.
func applet(f *finder, words []word, s scope) {
	switch {
	case len(words) == 1 || words[1].known() && strings.HasPrefix(words[1].text, "-"):
		f.own(words, &s)
	case !words[1].known():
		f.own(words, &s)
		f.unseen(words[0], s, notFollowed)
	case words[1].text == "sh" || words[1].text == "ash" || words[1].text == "hush":
		inner := words[1:]
		if words[1].text == "sh" {
			inner = append([]word{{text: "ash"}}, words[2:]...)
		}
		f.run(inner, s.through(viaName(words[0])))
	default:
		f.run(words[1:], s.through(viaName(words[0])))
	}
}
