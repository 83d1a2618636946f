package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"gocloud.dev/blob"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Meta reads how a log began.
func (a *Archive) Meta(ctx context.Context, namespace, podUID, log string) (record.Meta, error) {
	var meta record.Meta
	return meta, a.readJSON(ctx, record.Prefix(namespace, podUID, log)+record.MetaObject, &meta)
}

// Head reads the operator's word on a log. Whether its signature counts is for the caller to check.
func (a *Archive) Head(ctx context.Context, namespace, podUID, log string) (*record.Head, error) {
	var head record.Head
	if err := a.readJSON(ctx, record.Prefix(namespace, podUID, log)+record.HeadObject, &head); err != nil {
		return nil, err
	}
	return &head, nil
}

// Chunks reads the chunks of a log in order, from the first one wanted to the last that is durable. It holds one at
// a time.
func (a *Archive) Chunks(ctx context.Context, namespace, podUID, log string, from uint64) iter.Seq2[*record.Chunk, error] {
	prefix := record.Prefix(namespace, podUID, log)
	return func(yield func(*record.Chunk, error) bool) {
		for number := from; ; number++ {
			c, err := a.chunk(ctx, prefix, number)
			if errors.Is(err, ErrNotFound) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("log %s: %w", log, err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// CloseLog signs the end of a log that its sidecar did not end: Truncated, or Lost where nothing of it is there. It
// returns what was durable.
func (a *Archive) CloseLog(ctx context.Context, namespace, podUID, log string) (record.Head, *record.Verifier, error) {
	meta, err := a.Meta(ctx, namespace, podUID, log)
	if errors.Is(err, ErrNotFound) {
		return record.Head{Log: log, State: record.Lost}, &record.Verifier{}, nil
	}
	if err != nil {
		return record.Head{}, nil, err
	}
	l := &Log{archive: a, prefix: record.Prefix(namespace, podUID, log), meta: meta, chain: &record.Verifier{}}
	if err := l.resume(ctx); err != nil {
		return record.Head{}, nil, err
	}
	head := l.chain.Head(log)
	if head.State == record.Recording {
		head.State = record.Truncated
		if head.Chunks == 0 {
			head.State = record.Lost
		}
	}
	return head, l.chain, a.sign(ctx, l.prefix, head)
}

// Delete removes the bytes of a log. The index entry stays.
func (a *Archive) Delete(ctx context.Context, namespace, podUID, log string) error {
	if !record.ValidLogID(log) || namespace == "" || podUID == "" {
		return fmt.Errorf("log %q of pod %q in namespace %q: not a log", log, podUID, namespace)
	}
	list := a.bucket.List(&blob.ListOptions{Prefix: record.Prefix(namespace, podUID, log)})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing log %s: %w", log, err)
		}
		if err := a.bucket.Delete(ctx, object.Key); err != nil {
			return fmt.Errorf("deleting %s: %w", object.Key, err)
		}
	}
}

func (a *Archive) readJSON(ctx context.Context, key string, into any) error {
	text, err := a.read(ctx, key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	return nil
}
