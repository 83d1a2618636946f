// Package stream hands on what a program prints to whoever started it: masked, then recorded, then shown.
package stream

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

const (
	// MaxRecorded is how much of what a command prints is recorded, of each stream. How much it was in all is in
	// its result. A terminal is recorded whole.
	MaxRecorded = 256 << 10
	// maskingDelay is how long what may become a match is held back: short enough for a terminal to feel at once.
	maskingDelay = 30 * time.Millisecond
	// Chunk is how much is read at once: the most that a packet of SSH brings (RFC 4253 6.1), and what a kubelet sends
	// in a frame.
	Chunk = 32 << 10
)

// Chunks are buffers of that size, *[]byte.
var Chunks = sync.Pool{New: func() any { b := make([]byte, Chunk); return &b }} //nolint:gochecknoglobals // a pool

// Copy copies until from ends.
func Copy(to io.Writer, from io.Reader) (int64, error) {
	b := Chunks.Get().(*[]byte)
	defer Chunks.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, *b)
}

// Output hands one stream on to the agent. It is an io.Writer; several goroutines may use it.
type Output struct {
	recorder session.Recorder
	stream   string
	command  uint64
	limit    int64 // of what is recorded; 0: all
	masks    *mask.Stream
	to       io.Writer

	mu       sync.Mutex // guards what follows, and orders writes
	in       int64      // bytes that came
	bytes    int64      // bytes handed on
	masked   int
	recorded int64
	cut      bool
	partial  []byte // the beginning of a character, not yet recorded
	scratch  []byte
	timer    *time.Timer
	heldFrom int64 // where in the stream what is held back begins; -1: nothing is
	err      error
}

// New returns the Output of a stream (stdout, stderr) of a command, which is recorded up to the limit in bytes, or whole
// where that is 0. What cannot be recorded is not shown: the recorder decides whether it matters that it cannot.
func New(to io.Writer, d *mask.Detectors, recorder session.Recorder, stream string, command uint64, limit int64) *Output {
	o := &Output{to: to, recorder: recorder, stream: stream, command: command, limit: limit, heldFrom: -1}
	if !d.Empty() {
		o.masks = mask.NewStream(d)
	}
	return o
}

// Copy hands on until from ends. An error is a *RecordingError; that the agent takes nothing any more is none.
func (o *Output) Copy(from io.Reader) error {
	b := Chunks.Get().(*[]byte)
	defer Chunks.Put(b)
	for {
		n, err := from.Read(*b)
		if n > 0 {
			if _, werr := o.Write((*b)[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	// The target may still have something to say to an agent that does not listen: it is drained by its closing.
	return o.Finish()
}

// Finish hands on what was held back, at the stream's end. An error is a *RecordingError.
func (o *Output) Finish() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	if o.masks != nil && o.err == nil {
		o.flushLocked()
	}
	o.recordLocked(nil, true)
	var r *RecordingError
	if errors.As(o.err, &r) {
		return r
	}
	return nil
}

// Counts returns how many bytes were handed on and how many values were masked.
func (o *Output) Counts() (bytes int64, masked int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes, o.masked
}

// RecordingError tells an error of the recording from one of the agent's connection.
type RecordingError struct{ cause error }

func (e *RecordingError) Error() string {
	return "what it prints cannot be recorded: " + e.cause.Error()
}
func (e *RecordingError) Unwrap() error { return e.cause }

// Write takes the next piece. The error is the first of what was shown or recorded.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	o.in += int64(len(p))
	if o.masks == nil {
		return len(p), o.showLocked(p)
	}
	out, hits := o.masks.Write(o.scratch[:0], p)
	o.scratch = out
	o.masked += hits
	if err := o.showLocked(out); err != nil {
		return 0, err
	}
	o.scheduleLocked()
	return len(p), nil
}

// scheduleLocked lets nothing be held back for longer than the delay: counted from when its first byte came, so that a
// stream which drips does not wait for ever.
func (o *Output) scheduleLocked() {
	held := int64(o.masks.Held())
	if held == 0 {
		o.heldFrom = -1
		if o.timer != nil {
			o.timer.Stop()
		}
		return
	}
	from := o.in - held
	if from == o.heldFrom {
		return
	}
	o.heldFrom = from
	if o.timer == nil {
		o.timer = time.AfterFunc(maskingDelay, o.flush)
		return
	}
	o.timer.Reset(maskingDelay)
}

func (o *Output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.heldFrom >= 0 {
		o.flushLocked()
	}
}

func (o *Output) flushLocked() {
	o.heldFrom = -1
	out, hits := o.masks.Flush(o.scratch[:0])
	o.scratch = out
	o.masked += hits
	_ = o.showLocked(out)
}

// showLocked records, then shows.
func (o *Output) showLocked(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	o.recordLocked(p, false)
	if o.err != nil {
		return o.err
	}
	if _, err := o.to.Write(p); err != nil {
		o.err = err
		return err
	}
	o.bytes += int64(len(p))
	return nil
}

// recordLocked records whole characters, up to the limit.
func (o *Output) recordLocked(p []byte, last bool) {
	if o.cut {
		return
	}
	data := append(o.partial, p...)
	o.partial = nil
	if !last {
		if n := incomplete(data); n > 0 {
			o.partial = append([]byte(nil), data[len(data)-n:]...)
			data = data[:len(data)-n]
		}
	}
	if o.limit > 0 && o.recorded+int64(len(data)) > o.limit {
		data = data[:o.limit-o.recorded]
		o.cut = true
	}
	o.recorded += int64(len(data))
	if len(data) > 0 {
		o.put(string(data))
	}
	if o.cut {
		o.put(fmt.Sprintf("\n[what follows on %s is not recorded: %d bytes are]\n", o.stream, o.limit))
	}
}

func (o *Output) put(data string) {
	err := o.recorder.Record(record.Event{Kind: record.KindOutput, Command: o.command, Stream: o.stream, Data: data})
	if err != nil && o.err == nil {
		o.err = &RecordingError{err}
	}
}

// incomplete is how many bytes at the end begin a character that is not over.
func incomplete(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		c := p[len(p)-n]
		if c < 0x80 {
			return 0
		}
		if utf8.RuneStart(c) {
			if utf8.FullRune(p[len(p)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}
