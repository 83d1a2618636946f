package shell

import (
	"slices"
	"strings"
)

// options are what a program takes in front of its operands, as getopt reads them (POSIX XBD 12.2, and long names). What
// is not in here is not known, and no abbreviation of a long name is.
type options struct {
	// flags are the letters of options without an argument, args of those with one; attached of those whose argument is
	// only ever in the same word, and may be missing.
	flags, args, attached string
	// long are names of options without an argument, longArgs of those with one (in the same word behind = or in the
	// next), longMay of those whose argument may be missing and is never in the next.
	long, longArgs, longMay []string
}

// option is one that was given: its letter or name, and its argument.
type option struct {
	name  string
	value word
}

// read returns the options in front of the operands, and the operands. It is not ok where a word or an option is not
// known: where the operands begin is then not known either.
func (o *options) read(words []word) (given []option, operands []word, ok bool) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !w.known() {
			return given, words[i:], false
		}
		switch {
		case w.text == "--":
			return given, words[i+1:], true
		case strings.HasPrefix(w.text, "--"):
			name, value, has := strings.Cut(w.text[2:], "=")
			switch {
			case slices.Contains(o.longArgs, name) && !has:
				if i++; i == len(words) || !words[i].known() {
					return given, words[min(i, len(words)):], false
				}
				given = append(given, option{name, words[i]})
			case slices.Contains(o.longArgs, name) || slices.Contains(o.longMay, name) || slices.Contains(o.long, name) && !has:
				given = append(given, option{name, word{text: value}})
			default:
				return given, words[i:], false
			}
		case len(w.text) > 1 && w.text[0] == '-':
			more, used, ok := o.cluster(w.text[1:], words[i+1:])
			if !ok {
				return given, words[i:], false
			}
			given = append(given, more...)
			i += used
		default:
			return given, words[i:], true
		}
	}
	return given, nil, true
}

// cluster reads the letters behind one dash, and says how many of the words behind they use.
func (o *options) cluster(letters string, next []word) (given []option, used int, ok bool) {
	for i := 0; i < len(letters); i++ {
		name, rest := letters[i:i+1], letters[i+1:]
		switch {
		case strings.Contains(o.flags, name):
			given = append(given, option{name: name})
		case strings.Contains(o.attached, name):
			return append(given, option{name, word{text: rest}}), 0, true
		case strings.Contains(o.args, name):
			if rest != "" {
				return append(given, option{name, word{text: rest}}), 0, true
			}
			if len(next) == 0 || !next[0].known() {
				return nil, 0, false
			}
			return append(given, option{name, next[0]}), 1, true
		default:
			return nil, 0, false
		}
	}
	return given, 0, true
}

// has reports whether an option was given under one of its names.
func has(given []option, names ...string) bool {
	return slices.ContainsFunc(given, func(o option) bool { return slices.Contains(names, o.name) })
}

// last is the argument that an option was given last under one of its names.
func last(given []option, names ...string) (value word, ok bool) {
	for _, o := range given {
		if slices.Contains(names, o.name) {
			value, ok = o.value, true
		}
	}
	return value, ok
}
