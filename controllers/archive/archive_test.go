package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob/memblob"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/s3"
)

const logID = "00112233445566778899aabbccddeeff"

var begun = record.Meta{
	Log: logID, Target: "billing", Protocol: "postgres", Start: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC),
	Recording: "agent-billing-2026112306-00112233", Namespace: "agents", Pod: "agent", PodUID: "5c9f3a60-9d13-4a2b-8f3e-2f0f6a1b7c11",
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// oneKey is a keyring that holds one key.
type oneKey ed25519.PrivateKey

func (k oneKey) Sign(h record.Head) record.Head {
	return record.SignHead(ed25519.PrivateKey(k), h, time.Now())
}

func (k oneKey) Trusted(context.Context, string) []record.Key {
	return []record.Key{record.KeyOf(ed25519.PrivateKey(k).Public().(ed25519.PublicKey))}
}

// writer makes the chunks that a sidecar would send.
type writer struct {
	t    *testing.T
	next uint64
	hash []byte
}

func (w *writer) chunk(last bool, events ...record.Event) *record.Chunk {
	w.t.Helper()
	var text bytes.Buffer
	if last {
		events = append(events, record.Event{Kind: record.KindEnd})
	}
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			w.t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	payload := z.EncodeAll(text.Bytes(), nil)
	sum := record.Sum(w.next, w.hash, payload)
	c := &record.Chunk{Number: w.next, Previous: w.hash, Hash: sum[:], Payload: payload, Counts: record.Counts{Commands: int64(w.next) + 1}, Last: last}
	w.next, w.hash = w.next+1, sum[:]
	return c
}

func command(text string) record.Event {
	return record.Event{Kind: record.KindCommand, Text: text, Verdict: "Allow"}
}

// stores are the kinds of bucket that every case runs on.
func stores(t *testing.T, run func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive)) {
	t.Run("in memory", func(t *testing.T) {
		bucket := memblob.OpenBucket(nil)
		run(t, func(key ed25519.PrivateKey) *archive.Archive { return archive.New(bucket, oneKey(key)) })
	})
	t.Run("in a folder", func(t *testing.T) {
		folder := t.TempDir()
		run(t, func(key ed25519.PrivateKey) *archive.Archive {
			a, err := archive.Open(context.Background(), "file://"+folder+"/recordings", oneKey(key))
			if err != nil {
				t.Fatal(err)
			}
			return a
		})
	})
	t.Run("in S3", func(t *testing.T) {
		if os.Getenv(s3.ProgramVariable) == "" {
			t.Skip("make test-s3 runs it against a real server")
		}
		server, err := s3.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, func(key ed25519.PrivateKey) *archive.Archive {
			a, err := archive.Open(context.Background(), server.URL(), oneKey(key))
			if err != nil {
				t.Fatal(err)
			}
			return a
		})
	})
}

func begin(t *testing.T, a *archive.Archive, wantNext uint64) *archive.Log {
	t.Helper()
	l, err := a.Begin(t.Context(), begun)
	if err != nil {
		t.Fatal(err)
	}
	if l.Next() != wantNext {
		t.Fatalf("wants chunk %d next, not %d", l.Next(), wantNext)
	}
	return l
}

func add(t *testing.T, l *archive.Log, chunks ...*record.Chunk) {
	t.Helper()
	for _, c := range chunks {
		if err := l.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, a *archive.Archive, key ed25519.PrivateKey) record.Verification {
	t.Helper()
	meta, err := a.Meta(t.Context(), begun.Namespace, begun.PodUID, begun.Log)
	if err != nil {
		t.Fatal(err)
	}
	head, err := a.Head(t.Context(), begun.Namespace, begun.PodUID, begun.Log)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	if err := record.WriteLog(&body, meta, a.Chunks(t.Context(), begun.Namespace, begun.PodUID, begun.Log, 0), head); err != nil {
		t.Fatal(err)
	}
	_, v, err := record.Verify(&body, nil, record.KeyOf(key.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsAppendedAndSignedVerifies(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		key := newKey(t)
		a, w := open(key), &writer{t: t}
		l := begin(t, a, 0)
		add(t, l, w.chunk(false, command("SELECT 1")), w.chunk(false, command("SELECT 2")))
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, a, key); v.State != record.Recording || v.Signed != 2 {
			t.Errorf("after two chunks: %+v", v)
		}
		add(t, l, w.chunk(true))
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, a, key); v.State != record.Complete || v.Signed != 3 || v.Counts.Commands != 2 { // as there are events, whatever the header says
			t.Errorf("at the end: %+v", v)
		}
		if err := l.Append(t.Context(), w.chunk(false)); !errors.Is(err, archive.ErrInvalid) {
			t.Errorf("behind the end: %v", err)
		}
	})
}

func TestALogContinuesAtWhatIsDurable(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		key := newKey(t)
		a, w := open(key), &writer{t: t}
		l := begin(t, a, 0)
		add(t, l, w.chunk(false, command("SELECT 1")))
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		// The operator dies between the chunk and the head.
		add(t, l, w.chunk(false, command("SELECT 2")))
		l = begin(t, open(key), 2)
		if v := verify(t, a, key); v.Signed != 2 {
			t.Errorf("what was durable is not signed after the restart: %+v", v)
		}
		add(t, l, w.chunk(true))
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		l = begin(t, open(key), 3)
		if ended, _ := l.Chain().Ended(); !ended {
			t.Error("a complete log is taken for one that goes on")
		}
		if l.Chain().Counts().Commands != 3 {
			t.Errorf("counts %+v", l.Chain().Counts())
		}
	})
}

func TestAHeadOfALostKeyIsMadeAnewFromTheChain(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		w := &writer{t: t}
		l := begin(t, open(newKey(t)), 0)
		add(t, l, w.chunk(false, command("SELECT 1")), w.chunk(false, command("SELECT 2")))
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		key := newKey(t)
		a := open(key)
		begin(t, a, 2)
		if v := verify(t, a, key); v.Signed != 2 {
			t.Errorf("got %+v", v)
		}
	})
}

func TestAChunkThatDoesNotFitIsRefusedAndNothingIsLost(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		key := newKey(t)
		a, w := open(key), &writer{t: t}
		l := begin(t, a, 0)
		first, second := w.chunk(false, command("SELECT 1")), w.chunk(false, command("SELECT 2"))
		if err := l.Append(t.Context(), second); !errors.Is(err, archive.ErrInvalid) {
			t.Errorf("a chunk before its predecessor: %v", err)
		}
		forged := *first
		forged.Payload = second.Payload
		if err := l.Append(t.Context(), &forged); !errors.Is(err, archive.ErrInvalid) {
			t.Errorf("a payload that is not the hash's: %v", err)
		}
		add(t, l, first)
		// Another replica, whose connection to the sidecar is dead and does not know it yet.
		late := begin(t, open(key), 1)
		add(t, l, second)
		add(t, late, second) // the same bytes again are no conflict
		other := (&writer{t: t, next: 2, hash: w.hash}).chunk(false, command("SELECT 3"))
		add(t, l, w.chunk(false, command("something else")))
		if err := late.Append(t.Context(), other); !errors.Is(err, archive.ErrTaken) {
			t.Errorf("different bytes for a chunk that is durable: %v", err)
		}
		if err := l.Sign(t.Context(), record.Recording); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, a, key); v.Problem != "" || v.Signed != 3 {
			t.Errorf("got %+v", v)
		}
	})
}

func TestAnOrphanIsClosedAsWhatItIs(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		key := newKey(t)
		a, w := open(key), &writer{t: t}
		head, _, err := a.CloseLog(t.Context(), begun.Namespace, begun.PodUID, begun.Log)
		if err != nil || head.State != record.Lost {
			t.Errorf("a log that never began: %+v, %v", head, err)
		}
		l := begin(t, a, 0)
		add(t, l, w.chunk(false, command("SELECT 1")))
		head, chain, err := a.CloseLog(t.Context(), begun.Namespace, begun.PodUID, begun.Log)
		if err != nil || head.State != record.Truncated || chain.Counts().Commands != 1 {
			t.Errorf("a log that was broken off: %+v, %v", head, err)
		}
		if v := verify(t, a, key); v.State != record.Truncated || v.Signed != 1 {
			t.Errorf("got %+v", v)
		}
		// The sidecar comes back after all.
		l = begin(t, a, 1)
		add(t, l, w.chunk(true))
		head, _, err = a.CloseLog(t.Context(), begun.Namespace, begun.PodUID, begun.Log)
		if err != nil || head.State != record.Complete {
			t.Errorf("a log that was ended meanwhile: %+v, %v", head, err)
		}
	})
}

func TestTheIndexOutlivesTheBytes(t *testing.T) {
	stores(t, func(t *testing.T, open func(ed25519.PrivateKey) *archive.Archive) {
		a, w := open(newKey(t)), &writer{t: t}
		l := begin(t, a, 0)
		add(t, l, w.chunk(false, command("SELECT 1")))
		neighbour := begun
		neighbour.Log = "ff112233445566778899aabbccddeeff"
		if _, err := a.Begin(t.Context(), neighbour); err != nil {
			t.Fatal(err)
		}
		end := begun.Start.Add(time.Hour)
		if err := a.PutEntry(t.Context(), &archive.Entry{Meta: begun, State: record.Truncated, End: &end, RetentionSeconds: 3600}); err != nil {
			t.Fatal(err)
		}
		if err := a.Delete(t.Context(), begun.Namespace, begun.PodUID, begun.Log); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Meta(t.Context(), begun.Namespace, begun.PodUID, begun.Log); !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("the bytes are still there: %v", err)
		}
		if _, err := a.Meta(t.Context(), begun.Namespace, begun.PodUID, neighbour.Log); err != nil {
			t.Errorf("the neighbour's bytes are gone: %v", err)
		}
		n := 0
		for e, err := range a.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if got := e.Expires(24 * time.Hour); !got.Equal(end.Add(24 * time.Hour)) {
				t.Errorf("expires %s although the floor is a day", got)
			}
			if got := e.Expires(time.Minute); !got.Equal(end.Add(time.Hour)) {
				t.Errorf("expires %s although it is kept for an hour", got)
			}
		}
		if n != 1 {
			t.Errorf("%d entries", n)
		}
		if err := a.Delete(t.Context(), begun.Namespace, "", ""); err == nil {
			t.Error("a whole namespace can be deleted by an empty name")
		}
		if err := a.Check(t.Context(), "replica-0"); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenRefusesWhatCannotKeepRecordings(t *testing.T) {
	for name, location := range map[string]string{
		"a relative folder":         "file://recordings",
		"memory":                    "mem://",
		"no URL":                    "://",
		"nothing":                   "",
		"a folder that is a device": "file:///dev/null/recordings",
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := archive.Open(t.Context(), location, oneKey(newKey(t))); err == nil {
				t.Errorf("opened %v", a)
			}
		})
	}
}
