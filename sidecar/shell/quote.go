package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

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

// Simple reports whether text is one simple command whose words are all known, without redirections and assignments. It
// is then forwarded as Quote(argv), so that the remote shell cannot read it otherwise.
func Simple(text string) (argv []string, ok bool) {
	if len(text) > maxText {
		return nil, false
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, false
	}
	return simple(file)
}

// Canonical returns a text of known words only, written so that every shell that reads its structure (pipes, lists,
// redirections) reads the same words: Quote for each. It is what is to be forwarded where Simple says no and every
// command of Commands is resolved. Where ok is false there is no such form, and the text is forwarded as it is if the
// verdict allows it.
func Canonical(text string) (canonical string, ok bool) {
	words, ok := Simple(text)
	if !ok {
		return "", false
	}
	return Quote(words), true
}

// plain are the characters that no shell reads as anything but themselves, wherever in a word they stand.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+@%"

func simple(file *syntax.File) ([]string, bool) {
	if len(file.Stmts) != 1 {
		return nil, false
	}
	s := file.Stmts[0]
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || s.Background || s.Coprocess || len(s.Redirs) > 0 || len(call.Assigns) > 0 || len(call.Args) == 0 {
		return nil, false
	}
	var words []string
	for _, w := range call.Args {
		var b strings.Builder
		for _, part := range w.Parts {
			switch part := part.(type) {
			case *syntax.Lit:
				if strings.Trim(part.Value, plain) != "" {
					return nil, false
				}
				b.WriteString(part.Value)
			case *syntax.SglQuoted:
				if part.Dollar {
					return nil, false
				}
				b.WriteString(part.Value)
			default:
				return nil, false
			}
		}
		words = append(words, b.String())
	}
	return words, true
}
