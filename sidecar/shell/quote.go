package shell

import "strings"

// Quote writes words so that a POSIX shell, csh, tcsh and fish read exactly them: each in single quotes, with the
// characters that one of these shells reads inside single quotes (', \ and !) outside them, behind a backslash. A word
// with a newline is read exactly by POSIX shells and fish, not by csh. No word may hold a NUL byte, which no argument of
// a program can.
func Quote(argv []string) string {
	var b strings.Builder
	for i, word := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		quote(&b, word)
	}
	return b.String()
}

func quote(b *strings.Builder, word string) {
	if word == "" {
		b.WriteString("''")
		return
	}
	quoted := false
	for i := range len(word) {
		special := word[i] == '\'' || word[i] == '\\' || word[i] == '!'
		if special == quoted {
			b.WriteByte('\'')
			quoted = !quoted
		}
		if special {
			b.WriteByte('\\')
		}
		b.WriteByte(word[i])
	}
	if quoted {
		b.WriteByte('\'')
	}
}

// plain are the characters that no shell reads as anything but themselves, wherever in a word they stand.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+@%"
