package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// log keeps events in memory.
type log struct {
	mu      sync.Mutex
	events  []record.Event
	flushes int
	fail    error // of Record
	failing error // of Flush
	errs    []error
	hook    func(record.Event) // called before an event is kept
}

// before has f called with each event, by whoever records it.
func (l *log) before(f func(record.Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = f
}

func (l *log) Record(e record.Event) error {
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

func (l *log) Flush(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushes++
	return l.failing
}

// fails makes recording, and flushing, fail; nil mends them.
func (l *log) fails(record, flush error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail, l.failing = record, flush
}

func (l *log) Close() error { return nil }

func (l *log) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// find returns the events of a kind for which ok is true, waiting a moment for the first.
func (l *log) find(kind record.Kind, ok func(record.Event) bool) []record.Event {
	for wait := 0; ; wait++ {
		var out []record.Event
		l.mu.Lock()
		for _, e := range l.events {
			if e.Kind == kind && (ok == nil || ok(e)) {
				out = append(out, e)
			}
		}
		l.mu.Unlock()
		if len(out) > 0 || wait == 100 {
			return out
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// desk is where people decide: it keeps requests by what they are for, as the operator does.
type desk struct {
	mu       sync.Mutex
	requests []*request
	changed  chan struct{} // closed and renewed at every change
	down     bool
}

type request struct {
	name     string
	ask      session.Ask
	state    string // Pending, Approved, Denied, Expired, Used
	reason   string
	until    time.Time // of the grant
	waiting  int
	withdrew int // callers that gave up
}

// asked is what request n, from 1, was about.
func (d *desk) asked(n int) session.Ask {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[n-1].ask
}

// Await implements session.Approvals.
func (d *desk) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	d.mu.Lock()
	if d.down {
		d.mu.Unlock()
		return nil, fmt.Errorf("the operator cannot be reached: %w", session.ErrUnavailable)
	}
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
	if r.state != "Approved" {
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
			return &session.Grant{Request: r.name, Deciders: []string{"alice"}, NotAfter: r.until}, nil
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

func (d *desk) renew() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// next waits until request number n has been filed and somebody waits for it.
func (d *desk) next(t testing.TB, n int) session.Ask {
	t.Helper()
	for range 500 {
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

func (d *desk) decide(n int, state, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests[n-1].state, d.requests[n-1].reason = state, reason
	d.renew()
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.requests)
}
