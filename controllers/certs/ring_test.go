package certs

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func mustTurn(t *testing.T, data map[string][]byte, w wishes, now time.Time) *turned {
	t.Helper()
	out, err := turn(data, w, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseRing(out.data)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.keys) != len(out.ring.keys) || !again.current.Equal(out.ring.current) || (again.next == nil) != (out.ring.next == nil) {
		t.Fatalf("what is written is not what is meant: %+v and %+v", again, out.ring)
	}
	return out
}

// firstKeys is the Secret as a new operator makes it.
func firstKeys(t *testing.T) map[string][]byte {
	t.Helper()
	data, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	return mustTurn(t, data, wishes{}, begin).data
}

func signedBy(r *ring, at time.Time) record.Head {
	return record.SignHead(r.signer(at), record.Head{Log: "l", State: record.Complete}, at)
}

func TestTheNextKeyIsAnnouncedBeforeItSignsAndTheOldOneVerifiesForGood(t *testing.T) {
	first := mustTurn(t, firstKeys(t), wishes{made: begin, maxAge: 90 * 24 * time.Hour}, begin.Add(89*24*time.Hour))
	if first.changed || len(first.ring.keys) != 1 {
		t.Fatalf("a young key was changed: %v", first.notes)
	}
	due := begin.Add(90 * 24 * time.Hour)
	announced := mustTurn(t, first.data, wishes{made: begin, maxAge: 90 * 24 * time.Hour}, due)
	if !announced.changed || len(announced.ring.keys) != 2 || !announced.ring.keys[1].From.Equal(due.Add(announceFor)) {
		t.Fatalf("no next key was announced: %+v", announced.ring.keys)
	}
	before, after := signedBy(announced.ring, due.Add(announceFor-time.Second)), signedBy(announced.ring, due.Add(announceFor))
	if before.KeyID != announced.ring.keys[0].ID || after.KeyID != announced.ring.keys[1].ID {
		t.Errorf("a replica that has read the announcement does not change over by the clock: %s, %s", before.KeyID, after.KeyID)
	}
	if again := mustTurn(t, announced.data, wishes{made: begin, maxAge: time.Hour, rotate: true}, due.Add(time.Minute)); again.changed || len(again.ring.keys) != 2 {
		t.Errorf("a third key was announced beside the second: %v", again.notes)
	}
	promoted := mustTurn(t, announced.data, wishes{}, due.Add(announceFor+time.Minute))
	if !promoted.ring.current.Equal(announced.ring.next) || promoted.ring.next != nil || len(promoted.data[keySigningNext]) != 0 {
		t.Fatalf("the next key does not sign: %v", promoted.notes)
	}
	for name, entry := range promoted.data {
		if bytes.Contains(entry, first.ring.current.Seed()) {
			t.Errorf("%s still holds the private key that signs no more", name)
		}
	}
	late := signedBy(first.ring, due.Add(announceFor+lingerFor/2))
	for name, h := range map[string]record.Head{"before": before, "after": after, "by a replica that learned of it late": late, "long before": signedBy(first.ring, begin)} {
		if err := record.VerifyHead(h, promoted.ring.keys...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := record.VerifyHead(signedBy(first.ring, due.Add(24*time.Hour)), promoted.ring.keys...); !errors.Is(err, record.ErrKeyTime) {
		t.Errorf("the old key a day later: got %v", err)
	}
	if err := record.VerifyHead(after, first.ring.keys...); !errors.Is(err, record.ErrUnknownKey) {
		t.Errorf("the new key by the old set: got %v", err)
	}
}

// A replica that cannot read the Secret goes on with the keys that it holds: what is signed beyond the time that a replica may
// be late by does not count, until the log is signed again.
func TestAReplicaThatMissedAnAnnouncementForTooLong(t *testing.T) {
	first := mustTurn(t, firstKeys(t), wishes{made: begin}, begin)
	asked := begin.Add(time.Hour)
	announced := mustTurn(t, first.data, wishes{made: begin, rotate: true}, asked)
	now := mustTurn(t, announced.data, wishes{}, asked.Add(announceFor))
	for name, c := range map[string]struct {
		after time.Duration // the announcement
		want  error
	}{
		"while the next key is announced":                   {announceFor - time.Second, nil},
		"while a replica may be late":                       {announceFor + lingerFor, nil},
		"as long as clocks may differ beyond that, 25m":     {25 * time.Minute, nil},
		"longer than that":                                  {25*time.Minute + time.Second, record.ErrKeyTime},
		"a day, over which nothing of it counts":            {24 * time.Hour, record.ErrKeyTime},
		"two months, in which more than one key was missed": {60 * 24 * time.Hour, record.ErrKeyTime},
	} {
		t.Run(name, func(t *testing.T) {
			head := signedBy(first.ring, asked.Add(c.after))
			if head.KeyID != first.ring.keys[0].ID {
				t.Fatalf("a replica that has read nothing signs with %s", head.KeyID)
			}
			if err := record.VerifyHead(head, now.ring.keys...); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			caughtUp := mustTurn(t, now.data, wishes{}, asked.Add(c.after+time.Minute))
			if err := record.VerifyHead(signedBy(caughtUp.ring, asked.Add(c.after+time.Minute)), now.ring.keys...); c.after >= announceFor && err != nil {
				t.Errorf("once it has read the Secret again: %v", err)
			}
		})
	}
}

func TestASecretFromBeforeKeysWereRotated(t *testing.T) {
	data, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	out := mustTurn(t, data, wishes{made: begin}, begin.Add(year))
	if !out.changed || len(out.ring.keys) != 1 || !out.ring.keys[0].From.IsZero() || !bytes.Equal(out.data[keySigning], data[keySigning]) {
		t.Errorf("its key does not stay what it was: %+v", out.ring.keys)
	}
	if out := mustTurn(t, data, wishes{made: begin, maxAge: time.Hour}, begin.Add(year)); len(out.ring.keys) != 2 {
		t.Error("its age is not that of the Secret")
	}
}

func TestAKeyThatCountsNoMoreIsReplacedAtOnce(t *testing.T) {
	now := begin.Add(time.Hour)
	data := firstKeys(t)
	id := mustTurn(t, data, wishes{}, now).ring.keys[0].ID
	announced := mustTurn(t, data, wishes{rotate: true}, now)
	next := announced.ring.keys[1].ID
	without := func(data map[string][]byte, id string) map[string][]byte {
		r := mustTurn(t, data, wishes{}, now)
		r.ring.keys = slices.DeleteFunc(r.ring.keys, func(k record.Key) bool { return k.ID == id })
		if err := r.encode(data); err != nil {
			t.Fatal(err)
		}
		return r.data
	}
	for name, c := range map[string]struct {
		data   map[string][]byte
		revoke []string
		signs  string // empty for a key that is new
		keys   int
		want   error // of what the first key signed
	}{
		"revoked":                             {data, []string{id}, "", 2, record.ErrRevokedKey},
		"taken out":                           {without(data, id), nil, "", 1, record.ErrUnknownKey},
		"revoked while the next is announced": {announced.data, []string{id}, next, 2, record.ErrRevokedKey},
		"taken out while the next is":         {without(announced.data, id), nil, next, 1, record.ErrUnknownKey},
		"both revoked":                        {announced.data, []string{id, next}, "", 3, record.ErrRevokedKey},
		"the next revoked before it signed":   {announced.data, []string{next}, id, 2, nil},
		"the next taken out before it signed": {without(announced.data, next), nil, id, 1, nil},
		"a key that is none of the set's":     {data, []string{"0011223344556677"}, id, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := signedBy(announced.ring, now)
			out := mustTurn(t, c.data, wishes{revoke: c.revoke}, now)
			new := signedBy(out.ring, now)
			if c.signs != "" && new.KeyID != c.signs || c.signs == "" && (new.KeyID == id || new.KeyID == next) || len(out.ring.keys) != c.keys {
				t.Errorf("%s signs: %+v", new.KeyID, out.ring.keys)
			}
			if err := record.VerifyHead(new, out.ring.keys...); err != nil {
				t.Errorf("what is signed now: %v", err)
			}
			if err := record.VerifyHead(signedBy(out.ring, now.Add(year)), out.ring.keys...); err != nil {
				t.Errorf("what is signed in a year: %v", err)
			}
			if err := record.VerifyHead(h, out.ring.keys...); !errors.Is(err, c.want) {
				t.Errorf("what the first key signed: got %v, want %v", err, c.want)
			}
			if again := mustTurn(t, out.data, wishes{}, now); again.changed {
				t.Errorf("and again: %v", again.notes)
			}
		})
	}
}

func TestASecretThatCannotBeReadIsAnError(t *testing.T) {
	good := firstKeys(t)
	with := func(name, text string) map[string][]byte {
		return map[string][]byte{keySigning: good[keySigning], keyPublicSet: good[keyPublicSet], name: []byte(text)}
	}
	for name, c := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"no key":                    {map[string][]byte{}, "recording-signing has 0 bytes, needs 32"},
		"a key that was cut":        {with(keySigning, "short"), "recording-signing has 5 bytes"},
		"a next key that was cut":   {with(keySigningNext, ""), "recording-signing-next has 0 bytes"},
		"a set that is no JSON":     {with(keyPublicSet, "[{"), "recording-keys: "},
		"a key under another name":  {with(keyPublicSet, strings.ReplaceAll(string(good[keyPublicSet]), `"id": "`, `"id": "0`)), "calls itself 0"},
		"a key of the wrong length": {with(keyPublicSet, `[{"id":"x","key":"AAAA"}]`), "has 3 bytes"},
	} {
		if out, err := turn(c.data, wishes{}, begin); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v", name, out, err)
		}
	}
	if len(good[keySigning]) != ed25519.SeedSize {
		t.Error("the private key is no seed")
	}
}
