package record

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAHeadCountsByTheKeyAndTheTimeThatItWasSignedWith(t *testing.T) {
	public, key := testKeys(1)
	other, _ := testKeys(2)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	bounded := Key{ID: KeyID(public), Public: public, From: at.Add(-time.Hour), Until: at.Add(time.Hour)}
	revoked := bounded
	revoked.Revoked = at.Add(48 * time.Hour)
	for name, c := range map[string]struct {
		signed  time.Time
		trusted []Key
		want    error
		says    string
	}{
		"no keys are given":                         {at, nil, nil, ""},
		"a key of no bounds":                        {at, []Key{KeyOf(other), KeyOf(public)}, nil, ""},
		"while the key signed":                      {at, []Key{bounded}, nil, ""},
		"a clock that is a little behind":           {bounded.From.Add(-time.Minute), []Key{bounded}, nil, ""},
		"a clock that is a little ahead":            {bounded.Until.Add(time.Minute), []Key{bounded}, nil, ""},
		"before the key was made":                   {bounded.From.Add(-time.Hour), []Key{bounded}, ErrKeyTime, "was made for 2026-05-01 11:00:00 UTC and later"},
		"after the key was retired":                 {bounded.Until.Add(time.Hour), []Key{bounded}, ErrKeyTime, "was retired on 2026-05-01 13:00:00 UTC"},
		"no time at all, by a key that was made":    {time.Time{}, []Key{bounded}, ErrKeyTime, ""},
		"a key that was revoked later":              {at, []Key{revoked}, ErrRevokedKey, "on 2026-05-03 12:00:00 UTC"},
		"a key that is not or no longer in the set": {at, []Key{KeyOf(other)}, ErrUnknownKey, "key " + KeyID(public) + " is not, or no longer, in the set of 1 key"},
	} {
		t.Run(name, func(t *testing.T) {
			err := VerifyHead(SignHead(key, Head{Log: testLog, State: Complete}, c.signed), c.trusted...)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
		})
	}
	t.Run("a head whose time was changed does not fit", func(t *testing.T) {
		h := SignHead(key, Head{Log: testLog}, at)
		h.Signed = h.Signed.Add(time.Second)
		if err := VerifyHead(h); !errors.Is(err, ErrSignature) {
			t.Errorf("got %v", err)
		}
	})
}

// olderHead was signed by the program before keys were rotated, with the key of testKeys(1).
const olderHead = `{"log":"00112233445566778899aabbccddeeff","chunks":2,"hash":"ab12","state":"Complete","key":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=","signature":"ml8z5/nEW0AX4C+VaVC4OdvMk2NDPTjE1CGO1aXNOlBmbdnRuHUND8iWGE0+UEdIksz0QwCiFL3Yh55emNENBQ=="}`

func TestAHeadOfTheOlderFormVerifiesWithTheKeyThatItWasSignedBy(t *testing.T) {
	public, _ := testKeys(1)
	other, _ := testKeys(2)
	var h Head
	if err := json.Unmarshal([]byte(olderHead), &h); err != nil {
		t.Fatal(err)
	}
	retired := KeyOf(public)
	retired.Until = testSigned
	begun := KeyOf(public)
	begun.From = testSigned
	revoked := KeyOf(public)
	revoked.Revoked = testSigned
	for name, c := range map[string]struct {
		trusted Key
		want    error
	}{
		"its key":                        {KeyOf(public), nil},
		"its key, which has retired":     {retired, nil},
		"its key, which was revoked":     {revoked, ErrRevokedKey},
		"a key that began with the form": {begun, ErrKeyTime},
		"another key":                    {KeyOf(other), ErrUnknownKey},
	} {
		if err := VerifyHead(h, c.trusted); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	h.Signed, h.KeyID = testSigned, KeyID(public)
	if err := VerifyHead(h); !errors.Is(err, ErrSignature) {
		t.Errorf("given a time that was not signed: got %v", err)
	}
}

func TestAHeadNamesItsOwnKeyAlone(t *testing.T) {
	_, key := testKeys(1)
	other, _ := testKeys(2)
	h := SignHead(key, Head{Log: testLog}, testSigned)
	h.KeyID = KeyID(other)
	if err := VerifyHead(h); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v", err)
	}
}

func TestAVerificationSaysWhichKeySignedAndWhen(t *testing.T) {
	public, key := testKeys(1)
	chunks := testChain(t, 2)
	head := *signedHead(t, key, chunks)
	head = SignHead(key, head, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	v, err := VerifyChunks(testLog, each(chunks), func() *Head { return &head }, func(*Chunk, []Event) error { return nil },
		Key{ID: KeyID(public), Public: public, Until: head.Signed.Add(time.Hour)})
	if want := "Signed by the operator on 2026-05-01 12:00:00 UTC (key " + KeyID(public) + ", until 2026-05-01 13:00:00 UTC one of its keys)"; err != nil || !strings.Contains(v.String(), want) {
		t.Errorf("%v: got %q, want %q", err, v, want)
	}
}

func TestASetOfKeysIsReadAsItIsPublished(t *testing.T) {
	public, _ := testKeys(1)
	old, _ := testKeys(2)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	keys := []Key{{ID: KeyID(old), Public: old, Until: at, Revoked: at}, {ID: KeyID(public), Public: public, From: at}}
	text, err := json.Marshal(NewKeyList("logs.chaperone.dev/v1alpha1", keys))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKeys(text)
	if err != nil || len(got) != 2 || got[0].ID != keys[0].ID || !got[0].Until.Equal(at) || !got[0].Revoked.Equal(at) || !got[1].Public.Equal(public) || !got[1].From.Equal(at) {
		t.Errorf("%v: got %+v", err, got)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no keys":                   {`{"items":[]}`, "is empty"},
		"no JSON":                   {`-----BEGIN`, "reading the set"},
		"another name for a key":    {strings.ReplaceAll(string(text), KeyID(old), "0123456789abcdef"), "calls itself 0123456789abcdef"},
		"a key of the wrong length": {`{"items":[{"id":"x","key":"AAAA"}]}`, "has 3 bytes"},
	} {
		if _, err := ParseKeys([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	text, err := json.Marshal(NewKeyList("v", []Key{KeyOf(make(ed25519.PublicKey, ed25519.PublicKeySize))}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"items":[{"metadata":{"name":"x"},"id":"x","key":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		for _, k := range keys {
			if err != nil || KeyID(k.Public) != k.ID || len(k.Public) != ed25519.PublicKeySize {
				t.Errorf("%v: got %+v", err, k)
			}
		}
	})
}
