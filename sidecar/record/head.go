package record

import (
	"crypto/ed25519"
	"encoding/binary"
	"time"
)

// State is how far a log has come, in the words of SessionRecording's phase.
type State string

const (
	Recording State = "Recording" // more may come
	Complete  State = "Complete"  // closed by the sidecar, nothing is missing
	Truncated State = "Truncated" // broken off: what is there is true, the end is missing
	Lost      State = "Lost"      // nothing of it is there
	// Broken is never signed: what is there does not fit together.
	Broken State = "Broken"
)

// Head is the operator's word on a log: that it held so many chunks, the last of which has this hash, when it
// signed.
type Head struct {
	Log string `json:"log"`
	// Chunks is how many there are; Hash the last one's, hexadecimal, empty when there is none.
	Chunks uint64 `json:"chunks"`
	Hash   string `json:"hash,omitempty"`
	State  State  `json:"state"`
	// Signed is when, in whole seconds of the operator's clock. It decides whether the key's signature counted. Heads
	// of logs from before keys were rotated have none, and are signed in the older form.
	Signed time.Time `json:"signed,omitzero"`
	// KeyID names the key, by KeyID; heads of the older form do not.
	KeyID string `json:"keyID,omitempty"`
	// Key is the operator's public key. It proves nothing by itself: a reader compares it with those that it
	// trusts, or trusts the way by which the head came.
	Key       []byte `json:"key"`
	Signature []byte `json:"signature"`
}

// headContext and olderContext keep signatures of heads apart from any other use of the key, and the forms from each
// other.
const (
	headContext  = "chaperone.dev log head v2\n"
	olderContext = "chaperone.dev log head v1\n"
)

// text is what is signed. The older form says neither when nor with which key.
func (h *Head) text() []byte {
	context, fields := headContext, []string{h.Log, h.Hash, string(h.State), h.KeyID}
	if h.Signed.IsZero() {
		context, fields = olderContext, fields[:3]
	}
	b := []byte(context)
	for _, s := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, h.Chunks)
	if h.Signed.IsZero() {
		return b
	}
	return binary.BigEndian.AppendUint64(b, uint64(h.Signed.Unix()))
}

// SignHead returns the head with the operator's key and signature, as signed at the time given.
func SignHead(key ed25519.PrivateKey, h Head, at time.Time) Head {
	public := key.Public().(ed25519.PublicKey)
	h.Signed, h.KeyID, h.Key = at.UTC().Truncate(time.Second), KeyID(public), public
	h.Signature = ed25519.Sign(key, h.text())
	return h
}
