package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// notFollowed says why what a program runs is not known.
const notFollowed = "what it runs is behind options or words that are not known"

// wrapper is a program that runs the command that stands in its words.
type wrapper struct {
	options
	// operands are words of its own in front of the command.
	operands int
	// assigns says that NAME=value may stand in front of the command.
	assigns bool
	// named says that it is a command of its own: it changes for whom, where or with what the other runs.
	named bool
	// alone are options with which it runs nothing.
	alone []string
	// joined says that the words are joined by spaces and read by a shell.
	joined bool
}

// wrappers are the programs that only take options in front of the command. What GNU, util-linux and busybox do not read
// alike is not in here.
var wrappers = map[string]wrapper{
	"nice":    {options: options{flags: "0123456789", args: "n", longArgs: []string{"adjustment"}}},
	"nohup":   {},
	"setsid":  {options: options{flags: "cfw", long: []string{"ctty", "fork", "wait"}}},
	"stdbuf":  {options: options{args: "ioe", longArgs: []string{"input", "output", "error"}}},
	"timeout": {options: options{flags: "v", args: "ks", long: []string{"foreground", "preserve-status", "verbose"}, longArgs: []string{"kill-after", "signal"}}, operands: 1},
	"ionice":  {options: options{flags: "t", args: "cnpPu", long: []string{"ignore"}, longArgs: []string{"class", "classdata", "pid", "pgid", "uid"}}, alone: []string{"p", "P", "u", "pid", "pgid", "uid"}},
	"time":    {options: options{flags: "p"}},
	"env": {options: options{flags: "i0v", args: "uCS", long: []string{"ignore-environment", "null", "debug"}, longArgs: []string{"unset", "chdir", "split-string"},
		longMay: []string{"block-signal", "default-signal", "ignore-signal", "list-signal-handling"}}, assigns: true},
	"taskset": {options: options{flags: "ac", long: []string{"all-tasks", "cpu-list"}}, operands: 1},
	"chrt":    {options: options{flags: "abdfiorRv", args: "TPD", long: []string{"batch", "deadline", "fifo", "idle", "other", "rr", "reset-on-fork", "verbose"}}, operands: 1},
	"watch":   {options: options{flags: "bcegptw", args: "n", long: []string{"beep", "color", "errexit", "chgexit", "precise", "no-title", "no-wrap"}, longArgs: []string{"interval"}, attached: "d", longMay: []string{"differences"}}, joined: true},
	"doas":    {options: options{flags: "nL", args: "uCa"}, named: true, alone: []string{"L", "C"}},
	"pkexec":  {options: options{long: []string{"disable-internal-agent", "keep-cwd"}, longArgs: []string{"user"}}, named: true},
	"gosu":    {operands: 1, named: true},
	"su-exec": {operands: 1, named: true},
	"chroot":  {options: options{long: []string{"skip-chdir"}, longArgs: []string{"userspec", "groups"}}, operands: 1, named: true},
	"unshare": {options: options{flags: "mnpuiUCTfrc", args: "RwSG", long: []string{"fork", "map-root-user", "map-current-user", "keep-caps"}, longArgs: []string{"root", "wd", "setuid", "setgid"},
		longMay: []string{"mount", "net", "pid", "uts", "ipc", "user", "cgroup", "time", "mount-proc", "kill-child", "propagation", "setgroups"}}, named: true},
	"nsenter": {options: options{flags: "aFZ", args: "tSG", attached: "mnpuiUCTrw", long: []string{"all", "no-fork", "preserve-credentials", "follow-context"}, longArgs: []string{"target", "setuid", "setgid"},
		longMay: []string{"mount", "net", "pid", "uts", "ipc", "user", "cgroup", "time", "root", "wd"}}, named: true},
	"strace":   {options: options{flags: "fFtTrvqyCcwkixh", args: "esPaO"}, named: true, alone: []string{"h"}},
	"ltrace":   {options: options{flags: "fcCirStT", args: "exsanl"}, named: true},
	"fakeroot": {named: true},
	"chronic":  {}, "linux32": {}, "linux64": {}, "catchsegv": {},
}

// shellWithout are wrappers that start a shell where no command is named.
var shellWithout = map[string]bool{"chroot": true, "unshare": true, "nsenter": true, "fakeroot": true, "linux32": true, "linux64": true, "pkexec": true}

// follow finds what a wrapper runs.
func (wr wrapper) follow(f *finder, words []word, s scope) {
	if wr.named {
		f.own(words, &s)
	}
	given, operands, ok := wr.read(words[1:])
	if ok && has(given, wr.alone...) {
		f.own(words, &s)
		return
	}
	for i := 0; ok && i < wr.operands && len(operands) > 0; i++ {
		ok = operands[0].known()
		operands = operands[1:]
	}
	if wr.assigns {
		operands, ok = split(given, operands, ok)
	}
	inner := s.through(viaName(words[0]))
	for ok && wr.assigns && len(operands) > 0 {
		name, _, is := strings.Cut(operands[0].text, "=")
		if !operands[0].known() {
			ok = false
		}
		if !is {
			break
		}
		if name == "" || !syntax.ValidName(name) {
			inner = inner.because("a variable of its environment has no name")
		}
		inner.assigns = joined(inner.assigns, []string{operands[0].text})
		operands = operands[1:]
	}
	for _, o := range given {
		// Without a variable a program does as much else as with another value.
		if wr.assigns && (o.name == "u" || o.name == "unset") {
			inner.assigns = joined(inner.assigns, []string{o.value.text + "="})
		}
	}
	switch {
	case !ok:
		f.own(words, &s)
		f.unseen(words[0], s, notFollowed)
	case len(operands) == 0:
		f.own(words, &s)
		if shellWithout[viaName(words[0])] {
			f.reads(words[0], s)
		}
	case wr.joined && !has(given, "x", "exec"):
		f.given(joinWords(operands), unknownShell, words[0], s)
	default:
		f.run(operands, inner)
	}
}

// split is env's -S, which makes words of one, and its operand -, which is -i.
func split(given []option, operands []word, ok bool) ([]word, bool) {
	if text, is := last(given, "S", "split-string"); is {
		if strings.Trim(text.text, plain+" ") != "" || len(given) > 1 {
			return operands, false
		}
		var words []word
		for _, field := range strings.Fields(text.text) {
			words = append(words, word{text: field})
		}
		if len(words) > 0 && strings.HasPrefix(words[0].text, "-") {
			return operands, false
		}
		return append(words, operands...), ok
	}
	if len(operands) > 0 && operands[0].text == "-" {
		operands = operands[1:]
	}
	return operands, ok
}

// reads adds what a program runs that reads its commands from standard input or a terminal.
func (f *finder) reads(program word, s scope) {
	f.stdin = true
	f.unseen(program, s, viaName(program)+" reads its commands from standard input or a terminal")
}

// given finds the commands of a text that a program gives to a shell.
func (f *finder) given(text word, by dialect, program word, s scope) {
	if !text.known() {
		f.own([]word{program, unknown(text.why)}, &s)
		f.unseen(program, s, "it gives a shell a text that is not known: "+text.why)
		return
	}
	before := len(f.found)
	if err := f.text(text.text, by, s.through(viaName(program))); err != nil && f.err == nil {
		// What stands before the mistake may run all the same.
		f.unseen(program, s, "it gives a shell a text that is no program: "+err.Error())
	}
	if len(f.found) == before {
		f.own([]word{program}, &s)
	}
	f.changed(program, s)
}
