package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Reveals tells whether a request's body is a JSON Patch (RFC 6902) that would have a Secret's value show where none is
// masked, or tell whether a guess of it is right: copy, move, and a test of what may hold values (data, and annotations, in
// which kubectl remembers it). No other patch takes what is there from one place to another. An array that is no JSON Patch
// counts as one that does; whatever is no array is no JSON Patch, whatever its media type says.
func Reveals(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	if len(body) == 0 || body[0] != '[' {
		return false
	}
	var operations []json.RawMessage
	if err := json.Unmarshal(body, &operations); err != nil {
		return true
	}
	for _, operation := range operations {
		if revealing, err := reveals(operation); revealing || err != nil {
			return true
		}
	}
	return false
}

// reveals reads one operation. Of keys that stand twice every value counts: which one the API server takes is its own affair.
func reveals(operation json.RawMessage) (bool, error) {
	d := json.NewDecoder(bytes.NewReader(operation))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return true, errors.Join(err, errSyntax)
	}
	tests, hidden := false, false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return true, err
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return true, err
		}
		text, isText := value.(string)
		switch name {
		case "op":
			if !isText || text == "copy" || text == "move" {
				return true, nil
			}
			tests = tests || text == "test"
		case "path":
			hidden = hidden || !isText || !plain(text)
		case "from":
			return true, nil
		}
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return true, err
	}
	return tests && hidden, nil
}

// plain tells whether what stands at a pointer (RFC 6901) of a Secret is shown to agents anyhow.
func plain(pointer string) bool {
	switch pointer {
	case "/type", "/immutable":
		return true
	}
	field, ok := strings.CutPrefix(pointer, "/metadata/")
	return ok && field != "annotations" && !strings.HasPrefix(field, "annotations/")
}
