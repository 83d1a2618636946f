package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// Digest fields, each a byte that no text can hold (NUL), a letter, a length and the field.
const (
	fieldDatabase = 'd'
	fieldPath     = 'p' // search_path, where it is not the one that the session began with
	fieldPrepared = 's' // the text behind an EXECUTE's or FETCH's name
	fieldValues   = 'v' // SHA-256 over the Parse's parameter types and the Bind's formats and values
)

// digest is the SHA-256, in hex, over what will run: the statement and whatever decides what it does when it
// runs. An approval is for it and nothing else. A statement has one digest whether it comes as a simple query or
// without values through the extended protocol.
type digest struct{ hash.Hash }

func (c *Core) digest(text string) digest {
	d := digest{sha256.New()}
	d.Write([]byte(text))
	d.field(fieldDatabase, []byte(c.cfg.Database))
	if c.path != c.initial || c.stale {
		d.field(fieldPath, []byte(c.path))
	}
	return d
}

func (d digest) field(name byte, value []byte) {
	var head [6]byte
	head[1] = name
	binary.BigEndian.PutUint32(head[2:], uint32(len(value)))
	d.Write(head[:])
	d.Write(value)
}

func (d digest) text() string {
	var sum [sha256.Size]byte
	return hex.EncodeToString(d.Sum(sum[:0]))
}
