package sftp

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// Transfer is what was read from a file or written to it.
type Transfer struct {
	Bytes int64
	// Digest is the SHA-256 (hex) of the bytes where they came in the file's order; else empty.
	Digest string
}

// meter counts and digests the bytes of one direction of a handle.
type meter struct {
	bytes     int64
	sum       hash.Hash
	begun     bool
	next      uint64 // the offset that continues what was digested
	scattered bool
}

func (m *meter) add(offset uint64, p []byte) {
	if len(p) == 0 {
		return
	}
	m.bytes += int64(len(p))
	if m.scattered {
		return
	}
	if !m.begun {
		m.begun, m.next, m.sum = true, offset, sha256.New()
	}
	if offset != m.next {
		m.scattered, m.sum = true, nil
		return
	}
	m.sum.Write(p)
	m.next += uint64(len(p))
}

// copied notes bytes that never came by here.
func (m *meter) copied() { m.scattered, m.sum = true, nil }

func (m *meter) transfer() Transfer {
	t := Transfer{Bytes: m.bytes}
	if m.begun && !m.scattered {
		t.Digest = hex.EncodeToString(m.sum.Sum(nil))
	}
	return t
}
