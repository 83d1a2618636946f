package record

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// benchCommand is what a protocol records for a statement.
var benchCommand = Event{
	Kind: KindCommand, Command: 17, Text: "SELECT id, name, city FROM public.customers WHERE id = $1", TextLength: 57,
	Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Verdict: "Allow", Policy: "agents/billing-agent",
	Generation: 4, Rule: "reads",
}

func BenchmarkAppendEvent(b *testing.B) {
	buf := make([]byte, 0, 1024)
	e := benchCommand
	e.Time = 1234.567891
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], &e)
	}
	b.SetBytes(int64(len(buf)))
}

// processor reports what this process used of the processor, which on a busy machine says more than the time does.
func processor(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

// BenchmarkRecord is the whole way of an event: stamping, encoding, compressing, writing to the spool and sending.
func BenchmarkRecord(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), Budget: 1 << 30, Uplink: swallower{}, Log: logr.Discard()})
	if err != nil {
		b.Fatal(err)
	}
	c := s.Log(LogOptions{Target: "t", OnFailure: policy.Block}).Recorder()
	b.ReportAllocs()
	defer processor(b)()
	for b.Loop() {
		if err := c.Record(benchCommand); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := s.Close(testContext(b)); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFlush(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), Budget: 1 << 30, Uplink: newOperator(), Log: logr.Discard()})
	if err != nil {
		b.Fatal(err)
	}
	c := s.Log(LogOptions{Target: "t", OnFailure: policy.Block}).Recorder()
	ctx := b.Context()
	for b.Loop() {
		if err := c.Record(benchCommand); err != nil {
			b.Fatal(err)
		}
		if err := c.Flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// swallower acknowledges everything at once.
type swallower struct{}

func (swallower) Open(ctx context.Context, _ Meta) (Stream, error) {
	s := swallow{ctx: ctx, acks: make(chan uint64, 16)}
	s.acks <- 0
	return s, nil
}

type swallow struct {
	ctx  context.Context
	acks chan uint64
}

func (s swallow) Send(c Chunk) error { s.acks <- c.Number + 1; return nil }

func (s swallow) Recv() (uint64, string, error) {
	select {
	case next := <-s.acks:
		return next, "", nil
	case <-s.ctx.Done():
		return 0, "", s.ctx.Err()
	}
}

func (swallow) Close() error { return nil }
