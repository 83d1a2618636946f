package secret

import (
	"bytes"
	"encoding/base64"
)

// Text stands where a value was. It says whose it is, so that a person who decodes it knows, and so that a write which
// brings it back is recognised.
const Text = "[masked by chaperone]"

// encoded is Text as it stands in data.
var encoded = base64.StdEncoding.EncodeToString([]byte(Text))

// Holds tells whether a request's body would write mask text where it was read: in whatever encoding the API has for a
// Secret (JSON, YAML, protobuf, CBOR), the text is there as it is or in base64.
func Holds(body []byte) bool {
	return bytes.Contains(body, []byte(Text)) || bytes.Contains(body, []byte(encoded))
}
