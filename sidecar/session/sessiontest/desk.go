package sessiontest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Desk is where people decide: it keeps requests by what they are for, as the operator does.
type Desk struct {
	mu       sync.Mutex
	requests []*request
	changed  chan struct{} // closed and renewed at every change
	down     bool
}

type request struct {
	name     string
	ask      session.Ask
	state    string    // Pending, Approved, Denied, Expired, Used
	reason   string    // of a denial
	until    time.Time // end of the grant; zero for one use
	withdrew int       // callers that gave up
}

var _ session.Approvals = (*Desk)(nil)

// NewDesk returns a desk without requests.
func NewDesk() *Desk { return &Desk{changed: make(chan struct{})} }

// Await implements session.Approvals.
func (d *Desk) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	r, err := d.file(ask)
	if err != nil {
		return nil, err
	}
	limit := time.NewTimer(time.Duration(ask.Verdict.Approval.WaitSeconds) * time.Second)
	defer limit.Stop()
	for told := false; ; told = true {
		d.mu.Lock()
		state, reason, until, changed := r.state, r.reason, r.until, d.changed
		if state == "Approved" {
			r.state = "Used"
		}
		d.mu.Unlock()
		if !told && state != "Approved" {
			notify(r.name)
		}
		switch state {
		case "Approved":
			return &session.Grant{Request: r.name, Deciders: []string{"alice"}, NotAfter: until}, nil
		case "Denied":
			return nil, fmt.Errorf("approval request %s: %w by alice: %s", r.name, session.ErrDenied, reason)
		case "Expired":
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrExpired)
		}
		if ask.Verdict.Approval.WaitSeconds == 0 {
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrPending)
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			r.withdrew++
			d.mu.Unlock()
			return nil, ctx.Err()
		case <-limit.C:
			return nil, fmt.Errorf("approval request %s: %w", r.name, session.ErrPending)
		case <-changed:
		}
	}
}

// file returns the request that is there for ask, or a new one.
func (d *Desk) file(ask session.Ask) (*request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, fmt.Errorf("the operator cannot be reached: %w", session.ErrUnavailable)
	}
	for _, r := range d.requests {
		if r.ask.Digest == ask.Digest && r.ask.Verdict.Rule == ask.Verdict.Rule && (r.state == "Pending" || r.state == "Approved") {
			return r, nil
		}
	}
	r := &request{name: fmt.Sprintf("apr-%d", len(d.requests)+1), ask: ask, state: "Pending"}
	d.requests = append(d.requests, r)
	d.renew()
	return r, nil
}

func (d *Desk) renew() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Down makes the desk one that cannot be reached.
func (d *Desk) Down() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = true
}

// Filed waits until request number n, from 1, has been filed, and returns what is asked.
func (d *Desk) Filed(ctx context.Context, n int) (session.Ask, error) {
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

// Next is Filed for a test, which fails when that takes longer than half a minute.
func (d *Desk) Next(t testing.TB, n int) session.Ask {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ask, err := d.Filed(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return ask
}

// Decide sets the state of request number n, from 1: Approved, Denied or Expired.
func (d *Desk) Decide(n int, state, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests[n-1].state, d.requests[n-1].reason = state, reason
	d.renew()
}

// ApproveUntil approves request number n for everything alike until then.
func (d *Desk) ApproveUntil(n int, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests[n-1].state, d.requests[n-1].until = "Approved", until
	d.renew()
}

// Withdrawn is how many callers gave up waiting for request number n.
func (d *Desk) Withdrawn(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[n-1].withdrew
}

// Count is how many requests were filed.
func (d *Desk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.requests)
}
