// Package sessiontest has what a protocol is tested with in place of the operator: a log in memory and a desk where
// the test decides.
package sessiontest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Log keeps events in memory.
type Log struct {
	mu      sync.Mutex
	events  []record.Event
	closed  bool
	flushes int
	fail    error // of Record
	failing error // of Flush
}

// Record implements session.Recorder.
func (l *Log) Record(e record.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.events = append(l.events, e)
	return nil
}

// Flush implements session.Recorder.
func (l *Log) Flush(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushes++
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

// Events returns all events so far, and whether the log was closed.
func (l *Log) Events() ([]record.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events), l.closed
}

// Flushes is how often a flush was asked for.
func (l *Log) Flushes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushes
}

// NewDesk returns an empty desk.
func NewDesk() *Desk { return &Desk{changed: make(chan struct{})} }

// Find returns the events of a kind for which ok is true, waiting up to half a minute for the first.
func (l *Log) Find(kind record.Kind, ok func(record.Event) bool) []record.Event {
	for wait := 0; ; wait++ {
		var out []record.Event
		l.mu.Lock()
		for _, e := range l.events {
			if e.Kind == kind && (ok == nil || ok(e)) {
				out = append(out, e)
			}
		}
		l.mu.Unlock()
		if len(out) > 0 || wait == 3000 {
			return out
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Desk is where people decide: it keeps requests by what they are for, as the operator does.
type Desk struct {
	mu       sync.Mutex
	requests []*request
	changed  chan struct{} // closed and renewed at every change
}

type request struct {
	name     string
	ask      session.Ask
	state    string // Pending, Approved, Denied, Expired, Used
	reason   string
	waiting  int
	withdrew int // callers that gave up
}

// Await implements session.Approvals.
func (d *Desk) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	d.mu.Lock()
	var r *request
	for _, other := range d.requests {
		if other.ask.Digest == ask.Digest && other.ask.Verdict.Rule == ask.Verdict.Rule && (other.state == "Pending" || other.state == "Approved") {
			r = other
		}
	}
	if r == nil {
		r = &request{name: fmt.Sprintf("apr-%d", len(d.requests)+1), ask: ask, state: "Pending"}
		d.requests = append(d.requests, r)
	}
	r.waiting++
	d.renew()
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		r.waiting--
		d.renew()
		d.mu.Unlock()
	}()
	d.mu.Lock()
	approved := r.state == "Approved"
	d.mu.Unlock()
	if !approved {
		notify(r.name)
	}
	limit := time.NewTimer(time.Duration(ask.Verdict.Approval.WaitSeconds) * time.Second)
	defer limit.Stop()
	for {
		d.mu.Lock()
		state, reason, changed := r.state, r.reason, d.changed
		if state == "Approved" {
			r.state = "Used"
		}
		d.mu.Unlock()
		switch state {
		case "Approved":
			return &session.Grant{Request: r.name, Deciders: []string{"alice"}}, nil
		case "Denied":
			return nil, fmt.Errorf("request %s: %w by alice: %s", r.name, session.ErrDenied, reason)
		case "Expired":
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrExpired)
		}
		if ask.Verdict.Approval.WaitSeconds == 0 {
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrPending)
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			r.withdrew++
			d.mu.Unlock()
			return nil, ctx.Err()
		case <-limit.C:
			return nil, fmt.Errorf("request %s: %w", r.name, session.ErrPending)
		case <-changed:
		}
	}
}

func (d *Desk) renew() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Next waits until request number n has been filed and somebody waits for it.
func (d *Desk) Next(t testing.TB, n int) session.Ask {
	t.Helper()
	for range 3000 {
		d.mu.Lock()
		if len(d.requests) >= n {
			r := d.requests[n-1]
			d.mu.Unlock()
			return r.ask
		}
		d.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("request %d was never filed", n)
	return session.Ask{}
}

// Decide sets the state of request number n: Approved, Denied or Expired.
func (d *Desk) Decide(n int, state, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests[n-1].state, d.requests[n-1].reason = state, reason
	d.renew()
}

// Count is how many requests were filed.
func (d *Desk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.requests)
}
