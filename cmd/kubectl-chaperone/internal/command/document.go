package command

import (
	"bytes"
	"fmt"
	"io"
	"unicode"

	"sigs.k8s.io/yaml"
)

// document writes JSON, as YAML where that is wanted. Somebody may read it on a terminal: characters that a terminal
// acts on, or that turn the direction of text, are written as \u escapes. In JSON, and in what YAML puts into double
// quotes, that is the same text; YAML's other strings show the escape.
func (o *output) document(w io.Writer, text []byte) error {
	text = escaped(text)
	if o.format == "yaml" {
		var err error
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		text = escaped(text)
	}
	_, err := w.Write(text)
	return err
}

func escaped(text []byte) []byte {
	if !bytes.ContainsFunc(text, acts) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !acts(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		}
	}
	return b.Bytes()
}

func acts(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
