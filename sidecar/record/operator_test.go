package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// operator is a double of the broker: it keeps what it acknowledges and refuses what does not follow.
type operator struct {
	mu      sync.Mutex
	logs    map[string]*received
	order   []string // of logs, by when they start
	down    error    // answer of Open, while it is set
	forget  bool     // drops acknowledgements: what was sent is durable, the sidecar does not learn it
	mute    bool     // takes chunks and never answers
	breaks  int      // streams end after so many more chunks; 0: never
	streams int      // opened so far
	open    []*stream
	arrived chan struct{} // closed and replaced with every chunk
}

type received struct {
	meta     Meta
	verifier Verifier
	chunks   []*Chunk
}

func newOperator() *operator {
	return &operator{logs: map[string]*received{}, arrived: make(chan struct{})}
}

func (o *operator) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *operator) Open(ctx context.Context, meta Meta) (Stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down != nil {
		return nil, o.down
	}
	o.streams++
	log := o.logs[meta.Log]
	if log == nil {
		log = &received{meta: meta}
		o.logs[meta.Log] = log
		o.order = append(o.order, meta.Log)
		// Each log has a sender of its own: which reaches the operator first is no order.
		slices.SortStableFunc(o.order, func(a, b string) int { return o.logs[a].meta.Start.Compare(o.logs[b].meta.Start) })
	}
	s := &stream{operator: o, log: log, ctx: ctx, acks: make(chan uint64, 100), broken: make(chan struct{})}
	s.acks <- log.verifier.Next()
	o.open = append(o.open, s)
	return s, nil
}

type stream struct {
	operator *operator
	log      *received
	ctx      context.Context
	acks     chan uint64
	once     sync.Once
	broken   chan struct{}
}

var errBroken = errors.New("the connection is broken")

func (s *stream) Send(c Chunk) error {
	o := s.operator
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-s.broken:
		return io.EOF
	case <-s.ctx.Done():
		return io.EOF
	default:
	}
	if o.down != nil || o.breaks == 1 {
		o.breaks = 0
		s.once.Do(func() { close(s.broken) })
		return io.EOF
	}
	if o.breaks > 0 {
		o.breaks--
	}
	kept := c
	kept.Payload, kept.Hash, kept.Previous = bytes.Clone(c.Payload), bytes.Clone(c.Hash), bytes.Clone(c.Previous)
	if err := s.log.verifier.Add(&kept); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	s.log.chunks = append(s.log.chunks, &kept)
	close(o.arrived)
	o.arrived = make(chan struct{})
	switch {
	case o.forget:
		s.once.Do(func() { close(s.broken) })
	case !o.mute:
		s.acks <- s.log.verifier.Next()
	}
	return nil
}

func (s *stream) Recv() (uint64, string, error) {
	select {
	case next := <-s.acks:
		return next, "rec-" + s.log.meta.Log[:6], nil
	default:
	}
	select {
	case next := <-s.acks:
		return next, "rec-" + s.log.meta.Log[:6], nil
	case <-s.broken:
		return 0, "", errBroken
	case <-s.ctx.Done():
		return 0, "", s.ctx.Err()
	}
}

func (s *stream) Close() error { return nil }

// events are all events of the logs in the order in which they start.
func (o *operator) events(t testing.TB) [][]Event {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var all [][]Event
	for _, id := range o.order {
		var events []Event
		for _, c := range o.logs[id].chunks {
			more, err := allEvents(c.Payload)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, more...)
		}
		all = append(all, events)
	}
	return all
}

// heads are what the operator would sign.
func (o *operator) heads() (heads []Head) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range o.order {
		heads = append(heads, o.logs[id].verifier.Head(id))
	}
	return heads
}

// texts are the events of a log in short.
func texts(events []Event) (out []string) {
	for _, e := range events {
		s := string(e.Kind)
		if e.Text != "" {
			s += " " + e.Text
		}
		if e.Error != "" {
			s += ": " + e.Error
		}
		out = append(out, s)
	}
	return out
}

const testTime = 20 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(testTime); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ready() {
			return
		}
	}
	t.Fatalf("%s did not come about", what)
}
