package websocket

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what RFC 6455 asks for; it protects nothing
	"encoding/base64"
)

// identifier is what makes an answer to a key that of a WebSocket server (RFC 6455 1.3).
const identifier = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Key is a client's fresh Sec-WebSocket-Key.
func Key() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return base64.StdEncoding.EncodeToString(b[:])
}

// ValidKey tells whether a Sec-WebSocket-Key is 16 bytes in base64 (4.2.1).
func ValidKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// Accept is the Sec-WebSocket-Accept that answers a key (4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + identifier)) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}
