package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Digest fields: each a byte that no text can hold (NUL), a letter, a length and the field.
const (
	fieldDatabase = 'd'
	fieldPath     = 'p' // search_path and role, where they are not those that the session began with
	fieldFormats  = 'f' // DateStyle, IntervalStyle and TimeZone, by which literals and values are read
	fieldPrepared = 's' // the text behind an EXECUTE's or FETCH's name
	fieldValues   = 'v' // SHA-256 over the Parse's parameter types and the Bind's formats and values
)

// digestOf is the SHA-256, in hex, over what will run: the statement's text, and whatever else decides what it does
// when it runs: the database, what its names stand for, what is bound. An approval is for it and nothing else. A
// statement has one digest whether it comes as a simple query or without values through the extended protocol.
func (c *Core) digestOf(text string, at place, named []*statement, b *binding) string {
	d := append(c.hashed[:0], text...)
	d = hashField(d, fieldDatabase, c.cfg.Database)
	if at.told {
		d = hashField(d, fieldPath, at.path)
	}
	d = hashField(d, fieldFormats, at.formats)
	for _, s := range named {
		if s != nil {
			d = hashField(d, fieldPrepared, s.text)
		}
	}
	if b != nil && b.number > 0 {
		d = hashField(d, fieldValues, "")
		d = b.hash.Sum(d)
	}
	sum := sha256.Sum256(d)
	c.hashed = keepScratch(d)
	var out [2 * sha256.Size]byte
	hex.Encode(out[:], sum[:])
	return string(out[:])
}

// place is what a statement's text does not say about what it means: where its names are looked up (search_path and role,
// and whether they have to be told) and how its literals and values are read.
type place struct {
	path    string
	told    bool
	formats string
}

// place is that of a statement which is forwarded now.
func (c *Core) place() place {
	formats := c.formats.text
	if c.segment.reformed { // by what is before it in its pipeline; servers report at the end of that
		formats = c.cfg.Nonce + strconv.FormatUint(c.segment.number, 10)
	}
	return place{c.path, c.path != c.initial || c.stale, formats}
}

func hashField(d []byte, name byte, value string) []byte {
	d = append(d, 0, name)
	d = binary.BigEndian.AppendUint32(d, uint32(len(value)))
	return append(d, value...)
}
