package sessiontest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Log keeps events in memory. The zero value is ready.
type Log struct {
	mu      sync.Mutex
	events  []record.Event
	closed  bool
	fail    error // of Record
	failing error // of Flush
	hook    func(record.Event)
}

var _ session.Keeper = (*Log)(nil)

// Before has f called with each event before it is kept, by whoever records it.
func (l *Log) Before(f func(record.Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = f
}

// Record implements session.Recorder.
func (l *Log) Record(e record.Event) error {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook != nil {
		hook(e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.events = append(l.events, e)
	return nil
}

// Ready implements session.Keeper.
func (l *Log) Ready(int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fail == nil
}

// Keep implements session.Keeper.
func (l *Log) Keep(e record.Event) { _ = l.Record(e) }

// Flush implements session.Recorder.
func (l *Log) Flush(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}

// Fails makes recording, and flushing, fail; nil mends them.
func (l *Log) Fails(record, flush error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail, l.failing = record, flush
}

// Close implements session.Recorder.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// Closed says whether the log was closed.
func (l *Log) Closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Events returns what was recorded so far.
func (l *Log) Events() []record.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Find returns the events of a kind for which ok is true, waiting up to half a minute for the first.
func (l *Log) Find(kind record.Kind, ok func(record.Event) bool) []record.Event {
	return l.FindWithin(30*time.Second, kind, ok)
}

// FindWithin is Find with another time to wait: a short one where none is to be expected.
func (l *Log) FindWithin(limit time.Duration, kind record.Kind, ok func(record.Event) bool) []record.Event {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		var out []record.Event
		for _, e := range l.Events() {
			if e.Kind == kind && (ok == nil || ok(e)) {
				out = append(out, e)
			}
		}
		if len(out) > 0 || time.Now().After(deadline) {
			return out
		}
	}
}
