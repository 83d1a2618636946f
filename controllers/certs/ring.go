package certs

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Entries of the keys' Secret.
const (
	keyDecisionMAC = "decision-mac"
	keySigning     = "recording-signing"      // an Ed25519 seed, RFC 8032
	keySigningNext = "recording-signing-next" // the seed of the key that is announced
	keyPublicSet   = "recording-keys"         // JSON: all keys that ever signed, public
)

const (
	// announceFor is how long every reader can know a key before it signs.
	announceFor = 10 * time.Minute
	// lingerFor is how long a key's signatures count beyond the moment at which the next one took over, for replicas
	// that learn of it late.
	lingerFor = 10 * time.Minute
)

// ring is what the Secret says of the keys that sign recordings.
type ring struct {
	current ed25519.PrivateKey
	next    ed25519.PrivateKey // nil where none is announced
	keys    []record.Key
}

// signer is the key that signs now. The next one takes over by the clock, also where the Secret cannot be read.
func (r *ring) signer(now time.Time) ed25519.PrivateKey {
	if next := r.find(r.next); next != nil && !now.Before(next.From) {
		return r.next
	}
	return r.current
}

// find returns the set's entry of a private key, or nil where it holds none or where nothing it signs counts.
func (r *ring) find(key ed25519.PrivateKey) *record.Key {
	if key == nil {
		return nil
	}
	k := r.named(record.KeyID(key.Public().(ed25519.PublicKey)))
	if k == nil || !k.Revoked.IsZero() {
		return nil
	}
	return k
}

func (r *ring) named(id string) *record.Key {
	for i := range r.keys {
		if r.keys[i].ID == id {
			return &r.keys[i]
		}
	}
	return nil
}

// announce adds a new key to the set, which signs from then on.
func (r *ring) announce(from time.Time) (ed25519.PrivateKey, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	k := record.KeyOf(public)
	k.From = from
	r.keys = append(r.keys, k)
	return key, nil
}

// newKeys makes the Secret's first entries.
func newKeys() (map[string][]byte, error) {
	mac, seed := make([]byte, 32), make([]byte, ed25519.SeedSize)
	for _, b := range [][]byte{mac, seed} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
	}
	return map[string][]byte{keyDecisionMAC: mac, keySigning: seed}, nil
}

// parseRing reads the Secret. One without a set is from before keys were rotated: its key's signatures always count.
func parseRing(data map[string][]byte) (*ring, error) {
	r := &ring{}
	for name, key := range map[string]*ed25519.PrivateKey{keySigning: &r.current, keySigningNext: &r.next} {
		seed, there := data[name]
		if !there && name == keySigningNext {
			continue
		}
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("%s has %d bytes, needs %d; restore it, or delete the secret to sign with new keys", name, len(seed), ed25519.SeedSize)
		}
		*key = ed25519.NewKeyFromSeed(seed)
	}
	text, there := data[keyPublicSet]
	if !there {
		r.keys = []record.Key{record.KeyOf(r.current.Public().(ed25519.PublicKey))}
		return r, nil
	}
	if err := json.Unmarshal(text, &r.keys); err != nil {
		return nil, fmt.Errorf("%s: %w; restore it", keyPublicSet, err)
	}
	for i := range r.keys {
		if err := r.keys[i].Check(); err != nil {
			return nil, fmt.Errorf("%s: %w; restore it", keyPublicSet, err)
		}
	}
	return r, nil
}

// wishes are what is wanted of the keys.
type wishes struct {
	// made is when the Secret was, for a key whose beginning is not known.
	made time.Time
	// maxAge is how old a key may become; 0 is for good.
	maxAge time.Duration
	rotate bool
	// revoke names keys that shall count no more.
	revoke []string
}

// turned is what the Secret should hold.
type turned struct {
	ring    *ring
	data    map[string][]byte
	changed bool
	// notes are for the operator's log.
	notes []string
}

// turn says what the Secret should hold at now. It has no side effects.
//
// The next key is announced for a while before it signs. A key that was revoked, or taken out of the set, is replaced
// at once, without an announcement: nothing that it signs counts.
func turn(data map[string][]byte, w wishes, now time.Time) (*turned, error) {
	now = now.UTC().Truncate(time.Second)
	r, err := parseRing(data)
	if err != nil {
		return nil, err
	}
	_, there := data[keyPublicSet]
	out := &turned{ring: r, changed: !there}
	note := func(format string, args ...any) {
		out.changed, out.notes = true, append(out.notes, fmt.Sprintf(format, args...))
	}
	for _, id := range w.revoke {
		if k := r.named(id); k == nil {
			note("The key %q shall be revoked and is none of the set", id)
		} else if k.Revoked.IsZero() {
			k.Revoked = now
			note("The signing key %s was revoked", id)
		}
	}
	if r.next != nil && r.find(r.next) == nil {
		r.next = nil
		note("The announced signing key was revoked or taken out before it signed")
	}
	current, next := r.find(r.current), r.find(r.next)
	if current != nil && next == nil && !current.Until.IsZero() {
		current.Until, out.changed = time.Time{}, true // whatever was to take over will not
	}
	switch {
	case current == nil && next != nil:
		next.From = now
		r.current, r.next = r.next, nil
		note("The key %s signs from now on, as the one before counts no more", next.ID)
	case current == nil:
		if r.current, err = r.announce(now); err != nil {
			return nil, err
		}
		note("The key %s signs from now on, as the one before counts no more", r.keys[len(r.keys)-1].ID)
	case next != nil && !now.Before(next.From):
		r.current, r.next = r.next, nil
		note("The key %s signs from now on", next.ID)
	case next == nil && (w.rotate || w.due(current, now)):
		from := now.Add(announceFor)
		current.Until = from.Add(lingerFor)
		if r.next, err = r.announce(from); err != nil {
			return nil, err
		}
		note("The key %s will sign from %s on", r.keys[len(r.keys)-1].ID, from.Format(time.RFC3339))
	}
	return out, out.encode(data)
}

func (w *wishes) due(current *record.Key, now time.Time) bool {
	from := current.From
	if from.IsZero() {
		from = w.made
	}
	return w.maxAge > 0 && !from.IsZero() && !now.Before(from.Add(w.maxAge))
}

// encode writes the ring as the Secret's data. A private key that signs no more is not kept.
func (t *turned) encode(data map[string][]byte) error {
	t.data = maps.Clone(data)
	t.data[keySigning] = t.ring.current.Seed()
	delete(t.data, keySigningNext)
	if t.ring.next != nil {
		t.data[keySigningNext] = t.ring.next.Seed()
	}
	text, err := json.MarshalIndent(t.ring.keys, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the set of keys: %w", err)
	}
	t.data[keyPublicSet] = append(text, '\n')
	return nil
}
