package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
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
	// Key is the operator's public key. It proves nothing by itself: a reader compares it with one that it
	// trusts, or trusts the way by which the head came.
	Key       []byte `json:"key"`
	Signature []byte `json:"signature"`
}

// headContext keeps signatures of heads apart from any other use of the key.
const headContext = "chaperone.dev log head v1\n"

// text is what is signed.
func (h *Head) text() []byte {
	b := []byte(headContext)
	for _, s := range []string{h.Log, h.Hash, string(h.State)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, h.Chunks)
}

// SignHead returns the head with the operator's key and signature.
func SignHead(key ed25519.PrivateKey, h Head) Head {
	h.Key = key.Public().(ed25519.PublicKey)
	h.Signature = ed25519.Sign(key, h.text())
	return h
}

// Errors of VerifyHead.
var (
	ErrSignature  = errors.New("the signature does not fit")
	ErrUnknownKey = errors.New("signed with a key that is not trusted")
)

// VerifyHead checks the head's signature by its own key, which must be one of the trusted keys where any are given
// (several during a key's rotation).
func VerifyHead(h Head, trusted ...ed25519.PublicKey) error {
	if len(h.Key) != ed25519.PublicKeySize || !ed25519.Verify(h.Key, h.text(), h.Signature) {
		return ErrSignature
	}
	if len(trusted) == 0 {
		return nil
	}
	for _, key := range trusted {
		if key.Equal(ed25519.PublicKey(h.Key)) {
			return nil
		}
	}
	return fmt.Errorf("%w: key %s", ErrUnknownKey, KeyID(h.Key))
}

// KeyID is a short name for a public key: the first eight bytes of its SHA-256, hexadecimal.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}
