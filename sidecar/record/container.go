package record

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// WriteLog writes a whole log: its Meta, its chunks in order, and the operator's head where there is one. It is
// the body of the recordings API's answer, of ContentType, and a zstd stream of JSON lines at the same time.
func WriteLog(w io.Writer, meta Meta, chunks iter.Seq2[*Chunk, error], head *Head) error {
	buf, err := appendHeader(nil, header{Meta: &meta})
	if err != nil {
		return err
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("writing a log: %w", err)
	}
	for c, err := range chunks {
		if err != nil {
			return err
		}
		if buf, err = AppendChunk(buf[:0], c); err != nil {
			return err
		}
		if _, err := w.Write(buf); err != nil {
			return fmt.Errorf("writing chunk %d: %w", c.Number, err)
		}
	}
	if head == nil {
		return nil
	}
	if buf, err = appendHeader(buf[:0], header{Head: head}); err != nil {
		return err
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("writing a log's head: %w", err)
	}
	return nil
}

// Reader reads what WriteLog writes. It checks form and bounds; whether the chunks belong together is the
// Verifier's part.
type Reader struct {
	r    io.Reader
	meta Meta
	head *Head
}

// NewReader reads the beginning of a log.
func NewReader(r io.Reader) (*Reader, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, fmt.Errorf("reading a log: %w", torn(err))
	}
	if h.Meta == nil {
		return nil, errors.New("reading a log: it does not begin with what it is")
	}
	return &Reader{r: r, meta: *h.Meta}, nil
}

// Meta is how the log began.
func (r *Reader) Meta() Meta { return r.meta }

// Head is the operator's word on the log, once Next has returned io.EOF; nil if there is none.
func (r *Reader) Head() *Head { return r.head }

// Next returns the next chunk, io.EOF after the last and ErrTorn where the log breaks off in the middle of one.
func (r *Reader) Next() (*Chunk, error) {
	if r.head != nil {
		return nil, io.EOF
	}
	h, err := readHeader(r.r)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Head != nil:
		r.head = h.Head
		return nil, io.EOF
	case h.Chunk == nil:
		return nil, errors.New("neither a chunk nor a head")
	}
	c, err := h.Chunk.chunk()
	if err != nil {
		return nil, err
	}
	c.Payload = make([]byte, h.Chunk.Size)
	if _, err := io.ReadFull(r.r, c.Payload); err != nil {
		return nil, torn(err)
	}
	return c, nil
}

// Chunks returns what Next returns, up to the first error.
func (r *Reader) Chunks() iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		for {
			c, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}
