package websocket

import (
	"crypto/rand"
	"encoding/binary"
)

// MaxHeader is how many bytes a frame's header takes at most.
const MaxHeader = 14

// AppendFrame appends a whole message in one frame, or a control frame: a client's where masked is set.
func AppendFrame(dst []byte, op Opcode, masked bool, payload ...[]byte) []byte {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	var mask byte
	if masked {
		mask = 0x80
	}
	dst = append(dst, 0x80|byte(op))
	switch {
	case n < 126:
		dst = append(dst, mask|byte(n))
	case n < 1<<16:
		dst = append(dst, mask|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, mask|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	var key [4]byte
	if masked {
		_, _ = rand.Read(key[:]) // it does not fail: a server could foretell no other (10.3)
		dst = append(dst, key[:]...)
	}
	from := len(dst)
	for _, p := range payload {
		dst = append(dst, p...)
	}
	if masked {
		xor(dst[from:], key, 0)
	}
	return dst
}
