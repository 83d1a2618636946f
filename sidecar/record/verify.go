package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Verifier follows a log's chain chunk by chunk. Its zero value expects chunk 0.
type Verifier struct {
	next    uint64
	hash    []byte
	counts  Counts
	ended   bool
	reason  string // why the log was broken off, by its own last event
	problem string
}

// Resume returns a Verifier that has already seen all chunks below next, the last of which had this hash.
func Resume(next uint64, hash []byte, counts Counts) *Verifier {
	return &Verifier{next: next, hash: bytes.Clone(hash), counts: counts}
}

// Next is the number of the chunk that is wanted next; Hash the hash of the one before, empty at the beginning.
func (v *Verifier) Next() uint64 { return v.next }

// Hash is the hash of the last chunk seen.
func (v *Verifier) Hash() []byte { return v.hash }

// Counts are the totals as of the last chunk seen.
func (v *Verifier) Counts() Counts { return v.counts }

// Ended tells whether the last chunk was seen, and why the log was broken off if it was.
func (v *Verifier) Ended() (ended bool, reason string) { return v.ended, v.reason }

// Errors of Verifier.Add, wrapped with the chunk's number.
var (
	ErrOrder = errors.New("is out of order")
	ErrChain = errors.New("does not follow from the one before")
	ErrHash  = errors.New("is not what its hash says")
	ErrEnded = errors.New("comes after the log's end")
)

// Add checks the next chunk: number, predecessor, hash, bounds, and that a last chunk says that it is one in what
// is hashed too. After an error the Verifier stands where it stood.
func (v *Verifier) Add(c *Chunk) error {
	fail := func(err error) error { return fmt.Errorf("chunk %d %w", c.Number, err) }
	switch {
	case v.ended:
		return fail(ErrEnded)
	case c.Number != v.next:
		return fail(fmt.Errorf("%w: chunk %d was expected", ErrOrder, v.next))
	case !bytes.Equal(c.Previous, v.hash):
		return fail(ErrChain)
	case len(c.Payload) > MaxPayload:
		return fail(fmt.Errorf("has %d bytes, at most %d are allowed", len(c.Payload), MaxPayload))
	}
	if sum := Sum(c.Number, c.Previous, c.Payload); !bytes.Equal(c.Hash, sum[:]) {
		return fail(ErrHash)
	}
	if c.Last {
		end, ok, err := Ending(c.Payload)
		if err != nil {
			return fail(err)
		}
		if !ok {
			return fail(errors.New("is marked as the last and does not end the log"))
		}
		v.ended, v.reason = true, end.Error
	}
	v.next, v.hash, v.counts = c.Number+1, bytes.Clone(c.Hash), c.Counts
	return nil
}

// Head is the head that the operator signs for what was seen so far.
func (v *Verifier) Head(log string) Head {
	h := Head{Log: log, Chunks: v.next, Hash: hex.EncodeToString(v.hash), State: Recording}
	if v.ended {
		h.State = Complete
		if v.reason != "" {
			h.State = Truncated
		}
	}
	return h
}

// Verification is what can be said of a log.
type Verification struct {
	State State
	// Chunks is how many were verified, from the first on; Signed how many of them the operator's signature covers,
	// made at SignedAt with the key KeyID. Key is that key as it is trusted, zero where no keys were given.
	Chunks   uint64
	Signed   uint64
	SignedAt time.Time
	KeyID    string
	Key      Key
	// Counts are those of the verified events.
	Counts Counts
	// Problem says why the log is Truncated or Broken, and what keeps the signature from counting.
	Problem string
}

// Verify reads a whole log as WriteLog writes it and gives every verified chunk with its events to each, which may
// be nil. It returns an error only where each does or where r is no log at all: what is wrong with a log is in the
// Verification. With trusted keys, the head must be signed by one of them.
func Verify(r io.Reader, each func(Meta, *Chunk, []Event) error, trusted ...Key) (Meta, Verification, error) {
	reader, err := NewReader(r)
	if err != nil {
		return Meta{}, Verification{}, err
	}
	meta := reader.Meta()
	v, err := VerifyChunks(meta.Log, reader.Chunks(), reader.Head, func(c *Chunk, events []Event) error {
		if each == nil {
			return nil
		}
		return each(meta, c, events)
	}, trusted...)
	return meta, v, err
}

// VerifyChunks is Verify for chunks that come from elsewhere; head is asked after the last chunk and may return nil.
func VerifyChunks(log string, chunks iter.Seq2[*Chunk, error], head func() *Head, each func(*Chunk, []Event) error, trusted ...Key) (Verification, error) {
	var v Verifier
	var counts Counts      // from the events: those in the chunk's header are not hashed
	hashes := []string{""} // the chain's hash after so many chunks, one of which the head means
	for c, err := range chunks {
		if err == nil {
			err = v.Add(c)
		}
		var events []Event
		if err == nil {
			events, err = allEvents(c.Payload)
		}
		if err != nil {
			v.problem = err.Error()
			break
		}
		for i := range events {
			counts.add(&events[i])
		}
		if n := len(events); n > 0 && events[n-1].Kind == KindEnd { // whether or not the header says so
			v.ended, v.reason = true, events[n-1].Error
		}
		hashes = append(hashes, hex.EncodeToString(v.hash))
		if err := each(c, events); err != nil {
			return Verification{}, err
		}
	}
	v.counts, v.next = counts, uint64(len(hashes)-1)
	return v.conclude(log, head(), hashes, trusted), nil
}

// conclude compares the chain with the operator's word.
func (v *Verifier) conclude(log string, head *Head, hashes []string, trusted []Key) Verification {
	out := Verification{Chunks: v.next, Counts: v.counts, State: Recording, Problem: v.problem}
	switch {
	case v.problem != "":
		out.State = Broken
	case v.ended && v.reason != "":
		out.State, out.Problem = Truncated, v.reason
	case v.ended:
		out.State = Complete
	}
	if head == nil {
		if out.Problem == "" {
			out.Problem = "the operator's signature is missing"
		}
		return out
	}
	key, err := signer(head, trusted)
	if err != nil {
		out.State, out.Problem = Broken, fmt.Sprintf("the operator's signature does not count: %v", err)
		return out
	}
	switch {
	case head.Log != log:
		out.State, out.Problem = Broken, fmt.Sprintf("the signature is for log %s", head.Log)
	case v.problem != "":
	case head.Chunks > v.next:
		out.State = Broken
		out.Problem = fmt.Sprintf("the operator signed %d chunks, %d are here", head.Chunks, v.next)
	case hashes[head.Chunks] != head.Hash:
		out.State, out.Problem = Broken, fmt.Sprintf("chunk %d is not the one that the operator signed", head.Chunks-1)
	default:
		out.Signed, out.SignedAt, out.KeyID, out.Key = head.Chunks, head.Signed, KeyID(head.Key), key
		if head.State == Truncated && out.State == Recording {
			out.State, out.Problem = Truncated, "the sidecar never closed the log"
		}
		if head.State == Lost {
			out.State = Lost
		}
	}
	return out
}
