package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Key is a public key of the operator's, and when its signatures count.
type Key struct {
	// ID is KeyID of Public.
	ID     string            `json:"id"`
	Public ed25519.PublicKey `json:"key"`
	// From and Until bound the times of the heads that it may have signed; zero is open. Until lies a while behind
	// the moment at which the next key took over, for replicas that learn of it late.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Revoked is when people said that nothing that it signed counts any more, whenever that was; zero: they did not.
	Revoked time.Time `json:"revoked,omitzero"`
}

// KeyOf is a key whose signatures always count.
func KeyOf(public ed25519.PublicKey) Key { return Key{ID: KeyID(public), Public: public} }

// KeyID is a short name for a public key: the first eight bytes of its SHA-256, hexadecimal.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// signs tells why a head that the key signed then does not count. Heads of the older form were signed before any
// key had a beginning: such a head is too early for a key that has one.
func (k *Key) signs(at time.Time) error {
	switch {
	case !k.Revoked.IsZero():
		return fmt.Errorf("%w: key %s, on %s", ErrRevokedKey, k.ID, moment(k.Revoked))
	case !k.From.IsZero() && at.Before(k.From.Add(-clockSkew)):
		return fmt.Errorf("%w: key %s signed on %s and was made for %s and later", ErrKeyTime, k.ID, moment(at), moment(k.From))
	case !k.Until.IsZero() && at.After(k.Until.Add(clockSkew)):
		return fmt.Errorf("%w: key %s signed on %s and was retired on %s", ErrKeyTime, k.ID, moment(at), moment(k.Until))
	}
	return nil
}

// clockSkew is how far the clocks of two replicas may be apart.
const clockSkew = 5 * time.Minute

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// Errors of VerifyHead.
var (
	ErrSignature  = errors.New("the signature does not fit")
	ErrUnknownKey = errors.New("signed with a key that is not trusted")
	ErrKeyTime    = errors.New("signed at a time at which the key did not sign")
	ErrRevokedKey = errors.New("signed with a key that was revoked")
)

// VerifyHead checks the head's signature by its own key, which must be one of the trusted keys where any are given,
// and one whose signature counted when the head was signed.
func VerifyHead(h Head, trusted ...Key) error {
	_, err := signer(&h, trusted)
	return err
}

// signer is VerifyHead, and the trusted key that signed; the zero Key where none are given.
func signer(h *Head, trusted []Key) (Key, error) {
	if len(h.Key) != ed25519.PublicKeySize || !h.Signed.IsZero() && h.KeyID != KeyID(h.Key) || !ed25519.Verify(h.Key, h.text(), h.Signature) {
		return Key{}, ErrSignature
	}
	if len(trusted) == 0 {
		return Key{}, nil
	}
	for _, key := range trusted {
		if key.Public.Equal(ed25519.PublicKey(h.Key)) {
			return key, key.signs(h.Signed)
		}
	}
	return Key{}, fmt.Errorf("%w: key %s is not, or no longer, in the set of %s", ErrUnknownKey, KeyID(h.Key), count(int64(len(trusted)), "key", "keys"))
}

// KeyList is the set of keys as the operator publishes it, in the form of a list of Kubernetes' objects.
type KeyList struct {
	Kind       string    `json:"kind"`
	APIVersion string    `json:"apiVersion"`
	Metadata   struct{}  `json:"metadata"`
	Items      []KeyItem `json:"items"`
}

// KeyItem is a key as an object, whose name is its ID.
type KeyItem struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Key
}

// NewKeyList makes the published form of a set.
func NewKeyList(apiVersion string, keys []Key) KeyList {
	list := KeyList{Kind: "SigningKeyList", APIVersion: apiVersion, Items: []KeyItem{}}
	for _, k := range keys {
		item := KeyItem{Key: k}
		item.Metadata.Name = k.ID
		list.Items = append(list.Items, item)
	}
	return list
}

// ParseKeys reads a published set. An ID that is not the key's own is an error: what names a key has to be the key.
func ParseKeys(text []byte) ([]Key, error) {
	var list KeyList
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading the set of keys: %w", err)
	}
	keys := make([]Key, 0, len(list.Items))
	for _, item := range list.Items {
		if err := item.Key.Check(); err != nil {
			return nil, fmt.Errorf("reading the set of keys: %w", err)
		}
		keys = append(keys, item.Key)
	}
	if len(keys) == 0 {
		return nil, errors.New("reading the set of keys: it is empty")
	}
	return keys, nil
}

// Check refuses what cannot be a key.
func (k *Key) Check() error {
	if len(k.Public) != ed25519.PublicKeySize {
		return fmt.Errorf("key %s has %d bytes, an Ed25519 key has %d", Printable(k.ID), len(k.Public), ed25519.PublicKeySize)
	}
	if id := KeyID(k.Public); id != k.ID {
		return fmt.Errorf("key %s calls itself %s", id, Printable(k.ID))
	}
	return nil
}
