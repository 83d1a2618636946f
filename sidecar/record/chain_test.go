package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const testLog = "00112233445566778899aabbccddeeff"

var (
	testStart = time.Date(2026, 9, 30, 10, 0, 0, 0, time.UTC)
	testMeta  = Meta{
		Log: testLog, Target: "billing", Protocol: "postgres", Policies: []string{"agents/billing-agent"}, Start: testStart,
		User: "billing_rw", Recording: "billing-agent-billing-x7k2p", Namespace: "agents", Pod: "billing-agent-0",
		PodUID: "5d0e", ServiceAccount: "billing",
	}
)

// testChain makes a complete chain of chunks, each of some commands.
func testChain(t testing.TB, chunks int) []*Chunk {
	t.Helper()
	var out []*Chunk
	var previous []byte
	counts := Counts{}
	for n := range chunks {
		var text []byte
		for i := range 3 {
			e := Event{Time: float64(n), Kind: KindCommand, Connection: 1, Command: uint64(3*n + i), Text: "SELECT 1", Verdict: "Allow"}
			counts.add(&e)
			text = appendEvent(text, &e)
		}
		if n == chunks-1 {
			text = appendEvent(text, &Event{Time: float64(n), Kind: KindEnd})
		}
		payload, err := pack(nil, text)
		if err != nil {
			t.Fatal(err)
		}
		sum := Sum(uint64(n), previous, payload)
		out = append(out, &Chunk{
			Number: uint64(n), Previous: previous, Hash: sum[:], Payload: payload, Counts: counts, Last: n == chunks-1,
		})
		previous = sum[:]
	}
	return out
}

func each(chunks []*Chunk) func(func(*Chunk, error) bool) {
	return func(yield func(*Chunk, error) bool) {
		for _, c := range chunks {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// testSigned is when the operator signed.
var testSigned = testStart.Add(time.Hour)

func testKeys(seed byte) (ed25519.PublicKey, ed25519.PrivateKey) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return key.Public().(ed25519.PublicKey), key
}

// signedHead is what the operator signs for chunks.
func signedHead(t testing.TB, key ed25519.PrivateKey, chunks []*Chunk) *Head {
	t.Helper()
	var v Verifier
	for _, c := range chunks {
		if err := v.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	h := SignHead(key, v.Head(testLog), testSigned)
	return &h
}

func testArchive(t testing.TB, chunks []*Chunk, head *Head) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteLog(&b, testMeta, each(chunks), head); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSumIsAsTheProtocolStates(t *testing.T) {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, uint64(7))
	h.Write([]byte("previous"))
	h.Write([]byte("payload"))
	if got := Sum(7, []byte("previous"), []byte("payload")); !bytes.Equal(got[:], h.Sum(nil)) {
		t.Errorf("got %x", got)
	}
}

func TestVerify(t *testing.T) {
	public, key := testKeys(1)
	_, otherKey := testKeys(2)
	good := testChain(t, 4)
	changed := func(change func(c []*Chunk) []*Chunk) []*Chunk {
		copies := make([]*Chunk, len(good))
		for i, c := range good {
			k := *c
			copies[i] = &k
		}
		return change(copies)
	}
	open := func(h Head) *Head { h.State = Recording; h = SignHead(key, h, testSigned); return &h }
	for name, c := range map[string]struct {
		chunks  []*Chunk
		head    *Head
		state   State
		n       uint64
		signed  uint64
		problem string
	}{
		"a complete log that is signed": {good, signedHead(t, key, good), Complete, 4, 4, ""},
		"a log that goes on":            {good[:2], signedHead(t, key, good[:2]), Recording, 2, 2, ""},
		"a head that lags behind":       {good, signedHead(t, key, good[:2]), Complete, 4, 2, ""},
		"an empty log":                  {nil, signedHead(t, key, nil), Recording, 0, 0, ""},
		"a log without a signature":     {good, nil, Complete, 4, 0, "signature is missing"},
		"a foreign signature":           {good, signedHead(t, otherKey, good), Broken, 4, 0, "not trusted"},
		"a signature that was changed":  {good, func() *Head { h := *signedHead(t, key, good); h.Chunks = 3; return &h }(), Broken, 4, 0, "does not fit"},
		"fewer chunks than were signed": {good[:3], signedHead(t, key, good), Broken, 3, 0, "signed 4 chunks, 3 are here"},
		"a log closed by the operator": {good[:2], func() *Head {
			h := *signedHead(t, key, good[:2])
			h.State = Truncated
			h = SignHead(key, h, testSigned)
			return &h
		}(), Truncated, 2, 2, "never closed"},
		"a head that calls a complete log open": {good, open(*signedHead(t, key, good)), Complete, 4, 4, ""},
		"the head of another log": {good, func() *Head {
			h := *signedHead(t, key, good)
			h.Log = strings.Repeat("0", 32)
			h = SignHead(key, h, testSigned)
			return &h
		}(), Broken, 4, 0, "for log 0000"},
		"a chunk left out":     {slices.Delete(slices.Clone(good), 1, 2), signedHead(t, key, good), Broken, 1, 0, "chunk 1 was expected"},
		"two chunks exchanged": {[]*Chunk{good[0], good[2], good[1], good[3]}, nil, Broken, 1, 0, "out of order"},
		"a payload changed": {changed(func(c []*Chunk) []*Chunk {
			c[2].Payload = slices.Clone(c[2].Payload)
			c[2].Payload[5] ^= 1
			return c
		}), signedHead(t, key, good), Broken, 2, 0, "chunk 2 is not what its hash says"},
		"a chunk replaced with its own hash": {changed(func(c []*Chunk) []*Chunk {
			c[1].Payload, _ = pack(nil, []byte(`{"t":0,"kind":"result"}`))
			sum := Sum(1, c[1].Previous, c[1].Payload)
			c[1].Hash = sum[:]
			return c
		}), signedHead(t, key, good), Broken, 2, 0, "does not follow"},
		"a last chunk replaced with its own hash": {changed(func(c []*Chunk) []*Chunk {
			c[3].Payload, _ = pack(nil, []byte(`{"t":0,"kind":"end"}`))
			sum := Sum(3, c[3].Previous, c[3].Payload)
			c[3].Hash = sum[:]
			return c
		}), signedHead(t, key, good), Broken, 4, 0, "chunk 3 is not the one that the operator signed"},
		"a middle chunk marked as the last": {changed(func(c []*Chunk) []*Chunk {
			c[1].Last = true
			return c[:2]
		}), signedHead(t, key, good[:2]), Broken, 1, 0, "does not end the log"},
		"a chunk after the last": {append(slices.Clone(good), &Chunk{Number: 4}), nil, Broken, 4, 0, "after the log's end"},
	} {
		meta, v, err := Verify(bytes.NewReader(testArchive(t, c.chunks, c.head)), nil, KeyOf(public))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v.State != c.state || v.Chunks != c.n || v.Signed != c.signed || !strings.Contains(v.Problem, c.problem) || c.problem == "" && v.Problem != "" {
			t.Errorf("%s: got %+v", name, v)
		}
		if meta.Log != testLog || meta.Pod != testMeta.Pod || !meta.Start.Equal(testStart) {
			t.Errorf("%s: meta is %+v", name, meta)
		}
	}
}

func TestALogThatIsCutAtAnyByteVerifiesUpToItsLastWholeChunk(t *testing.T) {
	_, key := testKeys(1)
	chunks := testChain(t, 3)
	whole := testArchive(t, chunks, signedHead(t, key, chunks))
	var ends []int // of each chunk
	for n := range chunks {
		ends = append(ends, len(testArchive(t, chunks[:n+1], nil)))
	}
	first := len(testArchive(t, nil, nil))
	for n := range whole {
		_, v, err := Verify(bytes.NewReader(whole[:n]), nil)
		if n < first {
			if err == nil {
				t.Errorf("%d bytes of %d are taken for a log", n, len(whole))
			}
			continue
		}
		want := uint64(0)
		for _, end := range ends {
			if n >= end {
				want++
			}
		}
		clean := n == first || slices.Contains(ends, n)
		if err != nil || v.Chunks != want || v.Signed != 0 || !clean && (v.State != Broken || !strings.Contains(v.Problem, ErrTorn.Error())) {
			t.Errorf("%d bytes of %d: %+v, %v; want %d chunks", n, len(whole), v, err, want)
		}
	}
}

func TestNoChangedByteChangesWhatIsReadUnnoticed(t *testing.T) {
	public, key := testKeys(1)
	chunks := testChain(t, 2)
	whole := testArchive(t, chunks, signedHead(t, key, chunks))
	read := func(src []byte) (string, Verification, error) {
		var events []Event
		_, v, err := Verify(bytes.NewReader(src), func(_ Meta, _ *Chunk, more []Event) error {
			events = append(events, more...)
			return nil
		}, KeyOf(public))
		return fmt.Sprint(events), v, err
	}
	want, wantVerified, err := read(whole)
	if err != nil || wantVerified.State != Complete || wantVerified.Signed != 2 || wantVerified.Counts.Commands != 6 {
		t.Fatalf("got %+v, %v", wantVerified, err)
	}
	noticed := 0
	for n := len(testArchive(t, nil, nil)); n < len(whole); n++ { // the description before is not signed
		changed := slices.Clone(whole)
		changed[n] ^= 1
		got, v, err := read(changed)
		if err != nil || v.State == Broken {
			noticed++
		} else if got != want || !reflect.DeepEqual(v, wantVerified) {
			t.Errorf("byte %d was changed from %q in %q: %+v", n, whole[n], whole[max(0, n-30):min(n+10, len(whole))], v)
		}
	}
	if noticed < len(whole)/2 {
		t.Errorf("only %d changes of %d bytes were noticed", noticed, len(whole))
	}
}

func TestReaderBoundsWhatItReads(t *testing.T) {
	frame := func(magic, size uint32, text string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, magic)
		return append(binary.LittleEndian.AppendUint32(b, size), text...)
	}
	meta := testArchive(t, nil, nil)
	for name, c := range map[string]struct {
		src  []byte
		want string
	}{
		"another file":           {[]byte("%PDF-1.7 and so on"), "not a log of Chaperone"},
		"nothing":                {nil, ErrTorn.Error()},
		"a huge header":          {frame(frameMagic, 1<<31, ""), "at most 65536"},
		"a header that is no":    {frame(frameMagic, 2, "[]"), "reading a log's header"},
		"a log without its meta": {frame(frameMagic, 2, "{}"), "does not begin"},
	} {
		if _, err := NewReader(bytes.NewReader(c.src)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, c := range map[string]struct{ header, want string }{
		"a payload of 2 GiB":       {`{"chunk":{"number":0,"size":2147483647}}`, "at most"},
		"a payload of less than 0": {`{"chunk":{"number":0,"size":-1}}`, "at most"},
		"a hash that is none":      {`{"chunk":{"number":0,"size":0,"hash":"xyz"}}`, "reading the hash"},
		"neither chunk nor head":   {`{}`, "neither"},
	} {
		src := append(slices.Clone(meta), frame(frameMagic, uint32(len(c.header)), c.header)...)
		r, err := NewReader(bytes.NewReader(src))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPayloadsUnpackWithinBounds(t *testing.T) {
	bomb, err := pack(nil, bytes.Repeat([]byte(" "), 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	if len(bomb) > MaxPayload {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	two := append(slices.Clone(bomb), bomb...)
	for name, payload := range map[string][]byte{
		"64 MiB of blanks": bomb, "twice that": two, "no zstd": []byte("{}"), "too long": make([]byte, MaxPayload+1),
	} {
		for _, err = range Events(payload) {
			break
		}
		if err == nil {
			t.Errorf("%s was unpacked", name)
		}
	}
	largest, err := pack(nil, append(bytes.Repeat([]byte("\n"), maxText-21), `{"t":0,"kind":"end"}`+"\n"...))
	if err != nil {
		t.Fatal(err)
	}
	if e, ended, err := Ending(largest); err != nil || !ended || e.Kind != KindEnd {
		t.Errorf("a chunk of the largest size: %v %v", ended, err)
	}
}

func TestObjectNames(t *testing.T) {
	if got := Prefix("agents", "uid", testLog) + ChunkObject(7); got != "agents/uid/"+testLog+"/00000007.jsonl.zst" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]int64{
		"00000007.jsonl.zst": 7, "a/b/00000000.jsonl.zst": 0, "123456789.jsonl.zst": 123456789, "head.json": -1,
		"7.jsonl.zst": -1, "0000000x.jsonl.zst": -1, "000000007.jsonl.zst": -1, "+0000007.jsonl.zst": -1,
	} {
		n, ok := ChunkNumber(name)
		if ok != (want >= 0) || ok && n != uint64(want) {
			t.Errorf("%s: got %d, %v", name, n, ok)
		}
	}
	for id, want := range map[string]bool{
		testLog: true, "": false, "../../../../etc/passwd0000000000": false, strings.ToUpper(testLog): false, testLog + "0": false,
	} {
		if ValidLogID(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}

func TestEndingSaysWhy(t *testing.T) {
	payload, err := pack(nil, appendEvent(appendEvent(nil, &Event{Kind: KindLost}), &Event{Kind: KindEnd, Error: "killed"}))
	if err != nil {
		t.Fatal(err)
	}
	if e, ended, err := Ending(payload); !ended || e.Error != "killed" || err != nil {
		t.Errorf("got %+v %v %v", e, ended, err)
	}
	var v Verifier
	sum := Sum(0, nil, payload)
	if err := v.Add(&Chunk{Hash: sum[:], Payload: payload, Last: true}); err != nil {
		t.Fatal(err)
	}
	if h := v.Head(testLog); h.State != Truncated || h.Chunks != 1 || h.Hash != fmt.Sprintf("%x", sum) {
		t.Errorf("got %+v", h)
	}
}

func FuzzVerify(f *testing.F) {
	_, key := testKeys(1)
	chunks := testChain(f, 2)
	whole := testArchive(f, chunks, signedHead(f, key, chunks))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("\x5c\x2a\x4d\x18\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		_, v, err := Verify(bytes.NewReader(src), func(_ Meta, _ *Chunk, events []Event) error {
			timeline := NewTimeline(io.Discard, testMeta)
			for _, e := range events {
				if err := timeline.Event(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && v.Signed > v.Chunks {
			t.Fatalf("%+v", v)
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"t":1,"kind":"end"}`+"\n"), true)
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\x00"), false)
	f.Fuzz(func(t *testing.T, src []byte, packed bool) {
		if packed {
			var err error
			if src, err = pack(nil, src); err != nil {
				t.Fatal(err)
			}
		}
		for e, err := range Events(src) {
			if err != nil {
				break
			}
			// What was read can be written again and shown.
			decodeLine(t, appendEvent(nil, &e))
			if err := NewTimeline(io.Discard, testMeta).Event(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}
