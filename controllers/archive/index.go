package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"gocloud.dev/blob"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Entry is what the index keeps of a recording.
type Entry struct {
	record.Meta
	Node   string        `json:"node,omitempty"`
	Owner  string        `json:"owner,omitempty"`
	State  record.State  `json:"state"`
	Counts record.Counts `json:"counts"`
	Chunks uint64        `json:"chunks"`
	Digest string        `json:"digest,omitempty"`
	// LastWrite is when the last chunk became durable, End when the log was closed, as far as the entry was
	// brought up to date since.
	LastWrite time.Time  `json:"lastWrite"`
	End       *time.Time `json:"end,omitempty"`
	// RetentionSeconds count from End, or LastWrite where there is none.
	RetentionSeconds int64 `json:"retentionSeconds"`
	LegalHold        bool  `json:"legalHold,omitempty"`
	// BytesDeleted is when the retention ended; the entry stays.
	BytesDeleted *time.Time `json:"bytesDeleted,omitempty"`
}

// Expires is when the bytes may go, with floor as the least retention.
func (e *Entry) Expires(floor time.Duration) time.Time {
	from := e.LastWrite
	if e.End != nil {
		from = *e.End
	}
	if from.IsZero() {
		from = e.Start
	}
	return from.Add(max(floor, time.Duration(e.RetentionSeconds)*time.Second))
}

func indexKey(namespace, recording string) string {
	return indexPrefix + namespace + "/" + recording + ".json"
}

// PutEntry writes a recording's entry.
func (a *Archive) PutEntry(ctx context.Context, e *Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an index entry: %w", err)
	}
	if err := a.put(ctx, indexKey(e.Namespace, e.Recording), text, false); err != nil {
		return fmt.Errorf("writing the index entry of %s/%s: %w", e.Namespace, e.Recording, err)
	}
	return nil
}

// Entry reads a recording's entry.
func (a *Archive) Entry(ctx context.Context, namespace, recording string) (*Entry, error) {
	var e Entry
	if err := a.readJSON(ctx, indexKey(namespace, recording), &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// Entries reads the whole index.
func (a *Archive) Entries(ctx context.Context) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		list := a.bucket.List(&blob.ListOptions{Prefix: indexPrefix})
		for {
			object, err := list.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("listing the index: %w", err))
				return
			}
			var e Entry
			if err := a.readJSON(ctx, object.Key, &e); err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}
