package kubeserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Log keeps events in memory.
type Log struct {
	mu      sync.Mutex
	events  []record.Event
	fail    error // of Record
	failing error // of Flush
}

var _ session.Recorder = (*Log)(nil)

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
	return l.failing
}

// Close implements session.Recorder.
func (l *Log) Close() error { return nil }

// Fails makes recording, and flushing, fail; nil mends them.
func (l *Log) Fails(record, flush error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail, l.failing = record, flush
}

// Events returns what was recorded so far.
func (l *Log) Events() []record.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]record.Event(nil), l.events...)
}

// Find returns the events of a kind for which ok is true, waiting up to half a minute for the first.
func (l *Log) Find(kind record.Kind, ok func(record.Event) bool) []record.Event {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
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

// Desk is where people decide: it keeps requests by what they are for, as the operator does.
type Desk struct {
	mu       sync.Mutex
	requests []*pending
	changed  chan struct{} // closed and renewed at every change
}

type pending struct {
	name   string
	ask    session.Ask
	state  string // Pending, Approved, Denied, Expired, Used
	reason string
}

var _ session.Approvals = (*Desk)(nil)

// NewDesk returns a desk without requests.
func NewDesk() *Desk { return &Desk{changed: make(chan struct{})} }

// Await implements session.Approvals.
func (d *Desk) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	d.mu.Lock()
	var r *pending
	for _, other := range d.requests {
		if other.ask.Digest == ask.Digest && other.ask.Verdict.Rule == ask.Verdict.Rule && (other.state == "Pending" || other.state == "Approved") {
			r = other
		}
	}
	if r == nil {
		r = &pending{name: fmt.Sprintf("apr-%d", len(d.requests)+1), ask: ask, state: "Pending"}
		d.requests = append(d.requests, r)
	}
	state := r.state
	d.renew()
	d.mu.Unlock()
	if state == "Pending" {
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
			return nil, fmt.Errorf("approval request %s: %w: %s", r.name, session.ErrDenied, reason)
		case "Expired":
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrExpired)
		}
		if ask.Verdict.Approval.WaitSeconds == 0 {
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrPending)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrPending)
		case <-changed:
		}
	}
}

func (d *Desk) renew() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Next waits until request number n (from 1) has been filed.
func (d *Desk) Next(ctx context.Context, n int) (session.Ask, error) {
	for {
		d.mu.Lock()
		if len(d.requests) >= n {
			defer d.mu.Unlock()
			return d.requests[n-1].ask, nil
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return session.Ask{}, fmt.Errorf("request %d was never filed: %w", n, ctx.Err())
		}
	}
}

// Decide decides request number n: Approved, Denied or Expired.
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
