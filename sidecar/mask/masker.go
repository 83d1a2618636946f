package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// Masker replaces whole values. It keeps the state of its keyed hash and is not for several goroutines.
type Masker struct {
	key []byte
	mac hash.Hash // made at the first hash
	sum [sha256.Size]byte
	buf [64]byte
}

// NewMasker returns a Masker whose hashes are keyed by key. Without a key all methods but Hash work.
func NewMasker(key []byte) *Masker { return &Masker{key: key} }

// digest returns the keyed hash of the canonical text of a value; it is valid until the next call.
func (m *Masker) digest(canonical []byte) []byte {
	if m.mac == nil {
		m.mac = hmac.New(sha256.New, m.key)
	}
	m.mac.Reset()
	m.mac.Write(canonical)
	return m.mac.Sum(m.sum[:0])
}

// number returns 63 bits of the hash.
func (m *Masker) number(canonical []byte) uint64 {
	return binary.BigEndian.Uint64(m.digest(canonical)) >> 1
}

// hex appends 64 bits of the hash in hexadecimal.
func (m *Masker) hex(dst, canonical []byte) []byte {
	return hex.AppendEncode(dst, m.digest(canonical)[:8])
}
