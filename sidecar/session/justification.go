package session

import (
	"strings"
	"unicode/utf8"
)

// Where an agent says why it does what it does, in protocols that have no place of their own for it. Approvers read it
// as the agent's own words; nothing is decided by it. PostgreSQL has comments and application_name.
const (
	// JustificationVariable is the environment variable of an SSH session ("env" request, RFC 4254, section 6.4),
	// which goes no further than the sidecar.
	JustificationVariable = "CHAPERONE_JUSTIFICATION"
	// JustificationHeader is the header of an HTTP request, which goes no further than the sidecar.
	JustificationHeader = "Chaperone-Justification"
)

// maxJustification is what an approver can be expected to read; the operator allows some more, for escapes.
const maxJustification = 512

// Justification bounds the agent's own words. clean masks what the policy protects and cuts to a length in bytes; nil
// masks nothing. Control characters are escaped by the operator, which trusts no sidecar to have done so.
func Justification(words string, clean func(text string, limit int) (cut string, length int)) string {
	words = strings.ToValidUTF8(words, "\uFFFD")
	// Bounded before it is looked at, and generously, so that masking still sees whole values.
	if len(words) > 8*maxJustification {
		words = words[:8*maxJustification]
	}
	words = strings.TrimSpace(words)
	if clean != nil {
		words, _ = clean(words, maxJustification)
	}
	if len(words) <= maxJustification {
		return words
	}
	end := maxJustification
	for end > 0 && !utf8.RuneStart(words[end]) {
		end--
	}
	return words[:end] + "…"
}
