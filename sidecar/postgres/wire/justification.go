package wire

import (
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Justify is the agent's own words on why: the comment at the head of the statement, else what it calls itself.
func (r *Rules) Justify(statement, application string) string {
	words := leadingComment(statement)
	if words == "" {
		words = application
	}
	return session.Justification(words, r.detectors.Text)
}

// leadingComment is the text of the comment that a statement begins with, "" for none. Lines that each begin with --
// are one. A planner hint (/*+) is not meant for people.
func leadingComment(statement string) string {
	const space = " \t\r\n\f\v"
	rest := strings.TrimLeft(statement, space)
	if strings.HasPrefix(rest, "/*") {
		rest = rest[2:]
		if strings.HasPrefix(rest, "+") {
			return ""
		}
		// Comments nest (PostgreSQL, "Lexical Structure", section 4.1.5).
		for i, depth := 0, 1; i < len(rest)-1; i++ {
			switch rest[i : i+2] {
			case "/*":
				depth++
				i++
			case "*/":
				if depth--; depth == 0 {
					return strings.TrimSpace(rest[:i])
				}
				i++
			}
		}
		return "" // it never ends: the grammar refuses the statement
	}
	var lines []string
	for strings.HasPrefix(rest, "--") {
		line := rest[2:]
		end := strings.IndexAny(line, "\r\n")
		if end < 0 {
			end = len(line)
		}
		lines = append(lines, strings.TrimSpace(line[:end]))
		rest = strings.TrimLeft(line[end:], space)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
