package shell

import (
	"strings"
)

// sudoOptions are sudo's (sudo 1.9).
var sudoOptions = options{
	flags: "AbBEeHiKklnNPSsVv", args: "CDghpRrTtUu",
	long: []string{"askpass", "background", "bell", "preserve-env", "edit", "set-home", "login", "remove-timestamp", "reset-timestamp", "list",
		"non-interactive", "no-update", "preserve-groups", "stdin", "shell", "version", "validate", "help"},
	longArgs: []string{"close-from", "chdir", "group", "host", "prompt", "chroot", "role", "command-timeout", "type", "other-user", "user"},
	longMay:  []string{"preserve-env"},
}

// sudo runs its words as another user; with -i and -s through a shell, for which it escapes them so that they stay what
// they are.
func sudo(f *finder, words []word, s scope) {
	f.own(words, &s)
	given, operands, ok := sudoOptions.read(words[1:])
	inner := s.through(viaName(words[0]))
	for ok && len(operands) > 0 && operands[0].known() && strings.Contains(operands[0].text, "=") && operands[0].text[0] != '/' {
		inner.assigns = joined(inner.assigns, []string{operands[0].text})
		operands = operands[1:]
	}
	switch {
	case !ok || has(given, "e", "edit") || has(given, "R", "chroot", "h", "host"):
		f.unseen(words[0], s, notFollowed)
	case len(operands) > 0 && has(given, "l", "list"):
	case len(operands) > 0:
		f.run(operands, inner)
	case has(given, "i", "login", "s", "shell"):
		f.reads(words[0], s)
	}
}

// su runs a text as another user by that user's shell, which is not known; words behind the user are the shell's.
// runuser -u runs its words.
func su(f *finder, words []word, s scope) {
	f.own(words, &s)
	name := viaName(words[0])
	args := words[1:]
	if name == "runuser" {
		given, operands, ok := (&options{args: "u", longArgs: []string{"user"}}).read(args)
		if ok && has(given, "u", "user") {
			if len(operands) > 0 {
				f.run(operands, s.through(name))
			}
			return
		}
	}
	var text *word
	user := false
	for i := 0; i < len(args); i++ {
		w := args[i]
		switch {
		case !w.known():
			f.unseen(words[0], s, notFollowed)
			return
		case (w.text == "-c" || w.text == "--command") && i+1 < len(args):
			i++
			text = &args[i]
		case strings.HasPrefix(w.text, "--command="):
			text = &word{text: strings.TrimPrefix(w.text, "--command=")}
		case w.text == "-" || w.text == "-l" || w.text == "--login" || w.text == "-m" || w.text == "-p" || w.text == "--preserve-environment":
		case strings.HasPrefix(w.text, "-") || user:
			// -s names the shell, and words behind the user are given to it.
			f.unseen(words[0], s, notFollowed)
			return
		default:
			user = true
		}
	}
	if text == nil {
		f.reads(words[0], s)
		return
	}
	f.given(*text, unknownShell, words[0], s)
}

// sg runs a text with another group.
func sg(f *finder, words []word, s scope) {
	f.own(words, &s)
	switch {
	case len(words) == 4 && words[2].known() && words[2].text == "-c":
		f.given(words[3], unknownShell, words[0], s)
	case len(words) == 3 && words[1].known() && words[1].text != "-":
		f.given(words[2], unknownShell, words[0], s)
	default:
		f.unseen(words[0], s, notFollowed)
	}
}

// sshOptions are OpenSSH's. Those that name a program, a file or a host to go through are not followed.
var sshOptions = options{flags: "46AaCfGgKkMNnqsTtVvXxYy", args: "BbcDEeFIiJLlmOoPpQRSWw"}

// ssh runs a text by a shell of another host.
func ssh(f *finder, words []word, s scope) {
	f.own(words, &s)
	given, operands, ok := sshOptions.read(words[1:])
	if ok && len(operands) > 1 {
		// Options may stand behind the host too.
		more, rest, fine := sshOptions.read(operands[1:])
		given, ok = append(given, more...), fine
		operands = append([]word{operands[0]}, rest...)
	}
	switch {
	case !ok || has(given, "o", "F", "I", "J", "P", "S", "E"):
		f.unseen(words[0], s, notFollowed)
	case has(given, "V", "Q", "O"):
	case len(operands) == 0:
	case len(operands) == 1:
		if !has(given, "N") {
			f.reads(words[0], s)
		}
	default:
		f.given(joinWords(operands[1:]), unknownShell, words[0], s)
	}
}
