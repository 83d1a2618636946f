// Package naming makes names of objects, and texts that people read, of what sidecars send. It is pure.
package naming

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes a text from a sidecar fit for a terminal and for one line of a table: what is not printable (control
// characters, line ends, bidirectional overrides, bytes that are no UTF-8) is spelled out, and of what is longer
// than limit characters the middle is left out, so that neither end can be hidden.
func Escape(text string, limit int) string {
	// Nothing is escaped into more than ten characters; far more input than fits need not be looked at whole.
	text = middle(text, 4*limit)
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteString(text[:size])
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		text = text[size:]
	}
	return middle(b.String(), limit)
}

// middle leaves the middle out of a text of more than limit characters.
func middle(text string, limit int) string {
	if len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	runes := []rune(text)
	mark := fmt.Sprintf(" … (%d characters left out) … ", len(runes)-limit)
	keep := limit - utf8.RuneCountInString(mark) - 8 // the number grows with what the mark itself takes
	if keep < 2 {
		return string(runes[:limit])
	}
	head := keep * 3 / 4
	tail := keep - head
	mark = fmt.Sprintf(" … (%d characters left out) … ", len(runes)-keep)
	return string(runes[:head]) + mark + string(runes[len(runes)-tail:])
}
