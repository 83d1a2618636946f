package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// MaxChunks bounds one log: an hour of full chunks at the rate that the broker takes them is far below.
const MaxChunks = 100_000

// Errors of Append that the sender of a chunk can do something about.
var (
	// ErrInvalid says that the chunk does not follow, or is not what its hash says.
	ErrInvalid = errors.New("the chunk is not valid")
	// ErrFull says that the log has as many chunks as a log may have.
	ErrFull = errors.New("the log is full")
	// ErrTaken says that the chunk's place is taken by different bytes, which another replica was given.
	ErrTaken = errors.New("another chunk of this number is durable already")
)

// Log is a log that is being written. It is not safe for concurrent use.
type Log struct {
	archive *Archive
	prefix  string
	meta    record.Meta
	chain   *record.Verifier
}

// Begin creates a log, or continues one: chunks that are durable, but whose acknowledgement was lost, count. The
// Meta of a log that is there already wins; it must be the same pod's.
func (a *Archive) Begin(ctx context.Context, meta record.Meta) (*Log, error) {
	if !record.ValidLogID(meta.Log) {
		return nil, fmt.Errorf("log %q: not the name of a log", meta.Log)
	}
	l := &Log{archive: a, prefix: record.Prefix(meta.Namespace, meta.PodUID, meta.Log), meta: meta, chain: &record.Verifier{}}
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encoding a log's meta: %w", err)
	}
	switch err := a.put(ctx, l.prefix+record.MetaObject, text, true); {
	case err == nil:
		return l, l.Sign(ctx, record.Recording)
	case !errors.Is(err, errExists):
		return nil, fmt.Errorf("writing the beginning of log %s: %w", meta.Log, err)
	}
	if l.meta, err = a.Meta(ctx, meta.Namespace, meta.PodUID, meta.Log); err != nil {
		return nil, err
	}
	return l, l.resume(ctx)
}

// resume finds the log's end: behind what the head says, more chunks may be durable.
func (l *Log) resume(ctx context.Context) error {
	head, err := l.archive.Head(ctx, l.meta.Namespace, l.meta.PodUID, l.meta.Log)
	signed := uint64(0)
	// A head that is missing, or whose signature does not count any more, says nothing; the chain itself is then read through.
	if err == nil && head.Chunks > 0 && record.VerifyHead(*head, l.archive.Trusted(ctx, head)...) == nil {
		last, err := l.archive.chunk(ctx, l.prefix, head.Chunks-1)
		if err != nil {
			return fmt.Errorf("log %s: reading the last signed chunk: %w", l.meta.Log, err)
		}
		// Add checks what the head cannot say, whether the last chunk ends the log.
		before := record.Resume(head.Chunks-1, last.Previous, record.Counts{})
		if err := before.Add(last); err != nil {
			return fmt.Errorf("log %s: %w", l.meta.Log, err)
		}
		l.chain, signed = before, head.Chunks
	} else if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	for {
		c, err := l.archive.chunk(ctx, l.prefix, l.chain.Next())
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("log %s: %w", l.meta.Log, err)
		}
		if err := l.chain.Add(c); err != nil {
			return fmt.Errorf("log %s: %w", l.meta.Log, err)
		}
	}
	if l.chain.Next() == signed && signed > 0 {
		return nil
	}
	return l.Sign(ctx, record.Recording)
}

// Meta is how the log began.
func (l *Log) Meta() record.Meta { return l.meta }

// Next is the number of the chunk that is wanted next.
func (l *Log) Next() uint64 { return l.chain.Next() }

// Chain is what was durable and verified so far.
func (l *Log) Chain() *record.Verifier { return l.chain }

// Append checks the next chunk and returns once it is durable. The head does not cover it before Sign.
func (l *Log) Append(ctx context.Context, c *record.Chunk) error {
	if c.Number >= MaxChunks {
		return fmt.Errorf("log %s: %w", l.meta.Log, ErrFull)
	}
	next := *l.chain
	if err := next.Add(c); err != nil {
		return fmt.Errorf("log %s: %w: %w", l.meta.Log, ErrInvalid, err)
	}
	data, err := record.AppendChunk(nil, c)
	if err != nil {
		return err
	}
	key := l.prefix + record.ChunkObject(c.Number)
	err = l.archive.put(ctx, key, data, true)
	if errors.Is(err, errExists) {
		have, readErr := l.archive.read(ctx, key)
		if readErr != nil {
			return fmt.Errorf("log %s: reading chunk %d: %w", l.meta.Log, c.Number, readErr)
		}
		if !bytes.Equal(have, data) {
			return fmt.Errorf("log %s: chunk %d: %w", l.meta.Log, c.Number, ErrTaken)
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("log %s: writing chunk %d: %w", l.meta.Log, c.Number, err)
	}
	l.chain = &next
	return nil
}

// Sign writes the head over all that was appended. A log that its sidecar has ended is signed as what it is,
// whatever the state given.
func (l *Log) Sign(ctx context.Context, state record.State) error {
	head := l.chain.Head(l.meta.Log)
	if head.State == record.Recording {
		head.State = state
	}
	return l.archive.sign(ctx, l.prefix, head)
}

func (a *Archive) sign(ctx context.Context, prefix string, head record.Head) error {
	text, err := json.Marshal(a.keys.Sign(head))
	if err != nil {
		return fmt.Errorf("encoding the head of log %s: %w", head.Log, err)
	}
	if err := a.put(ctx, prefix+record.HeadObject, text, false); err != nil {
		return fmt.Errorf("writing the head of log %s: %w", head.Log, err)
	}
	return nil
}

func (a *Archive) chunk(ctx context.Context, prefix string, number uint64) (*record.Chunk, error) {
	data, err := a.read(ctx, prefix+record.ChunkObject(number))
	if err != nil {
		return nil, err
	}
	c, err := record.ParseChunk(data)
	if err != nil {
		return nil, fmt.Errorf("reading chunk %d: %w", number, err)
	}
	c.Payload = slices.Clip(c.Payload)
	return c, nil
}
