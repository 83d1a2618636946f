package wire

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
)

const (
	// maxRecorded bounds a statement's text in the recording, maxAsked in an approval request, whose reader has
	// to take it in and whose object lives in etcd. Both carry the whole length and the digest beside it.
	maxRecorded = 8 << 10
	maxAsked    = 4 << 10
)

// recorded is a statement as it stands in the recording: masked, cut, with its bound values. j is what text was judged
// as, nil where it was not.
func (r *Rules) recorded(j *judged, text, values string) string {
	if r == nil {
		return mask.Cut(text, maxRecorded)
	}
	switch {
	case j == nil || j.text != text || j.rules != r:
		text, _ = r.detectors.Text(text, maxRecorded)
	case j.recorded == "":
		j.recorded, _ = r.detectors.Text(text, maxRecorded)
		fallthrough
	default:
		text = j.recorded
	}
	if values != "" {
		values, _ = r.detectors.Text(values, 0)
		text += "\n-- " + strings.ReplaceAll(values, "\n", "\n-- ")
	}
	return text
}

// asked is a statement as people see it who approve it: masked, cut, its control characters written out, and
// what it runs with and where on lines of their own behind it.
func (r *Rules) asked(text, values, database, path, formats string) string {
	text, length := r.detectors.Text(text, maxAsked)
	var b strings.Builder
	visible(&b, text, true)
	if len(text) < length {
		fmt.Fprintf(&b, "\n-- cut here: the statement has %d bytes", length)
	}
	if values != "" {
		values, _ = r.detectors.Text(values, 0)
		b.WriteString("\n-- ")
		visible(&b, values, false)
	}
	b.WriteString("\n-- in database ")
	visible(&b, database, false)
	if path != "" {
		b.WriteString(", search_path ")
		visible(&b, path, false)
	}
	if formats != "" {
		b.WriteString(", ")
		visible(&b, formats, false)
	}
	return b.String()
}

// visible writes text so that nothing in it hides or reorders the rest: control characters and those that only
// format (bidirectional overrides, zero-width characters) are written as escapes.
func visible(b *strings.Builder, text string, lines bool) {
	for _, r := range text {
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case unicode.Is(unicode.C, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			fmt.Fprintf(b, `\u{%04x}`, r)
		default:
			b.WriteRune(r)
		}
	}
}
