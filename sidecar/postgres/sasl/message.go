package sasl

import (
	"bytes"
	"encoding/binary"
)

// MaxMessage is the longest message that is taken, its type and length aside: the server's own
// PG_MAX_SASL_MESSAGE_LENGTH (src/include/libpq/sasl.h).
const MaxMessage = 1024

// Head is how long a message's type and length are.
const Head = 5

// Length is how long what follows the head of a SASLInitialResponse or SASLResponse is (protocol, "Message Formats").
func Length(head [Head]byte) (int, error) {
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || size < 4 || size > 4+MaxMessage {
		return 0, ErrMessage
	}
	return int(size) - 4, nil
}

// initial reads the body of a SASLInitialResponse: the mechanism that was chosen, and that one's first message, which
// has to be there.
func initial(body []byte) (mechanism, first string, err error) {
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 || int64(int32(binary.BigEndian.Uint32(rest))) != int64(len(rest)-4) {
		return "", "", ErrMessage
	}
	return string(name), string(rest[4:]), nil
}
