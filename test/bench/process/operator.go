package process

import (
	"context"
	"io"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Operator takes recordings, verifies each chunk and acknowledges it.
type Operator struct{}

// Open implements record.Uplink.
func (Operator) Open(ctx context.Context, _ record.Meta) (record.Stream, error) {
	s := &stream{ctx: ctx, acknowledged: make(chan uint64, 1<<10)}
	s.acknowledged <- 0
	return s, nil
}

type stream struct {
	ctx          context.Context
	chain        record.Verifier
	acknowledged chan uint64
}

func (s *stream) Send(c record.Chunk) error {
	if err := s.chain.Add(&c); err != nil {
		return err
	}
	select {
	case s.acknowledged <- s.chain.Next():
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *stream) Recv() (uint64, string, error) {
	select {
	case next, ok := <-s.acknowledged:
		if !ok {
			return 0, "", io.EOF
		}
		return next, "bench", nil
	case <-s.ctx.Done():
		return 0, "", s.ctx.Err()
	}
}

func (s *stream) Close() error { close(s.acknowledged); return nil }
