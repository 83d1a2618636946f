package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// LogOptions describe the log of a target.
type LogOptions struct {
	Target   string
	Protocol string
	Policies []string // namespace/name
	User     string   // upstream
	// Terminal asks for a log of its own, which ends with its only connection.
	Terminal bool
	// OnFailure says what Record does with an event that cannot be kept. Default Block.
	OnFailure policy.OnFailure
}

// ErrNotKept is what Record returns, wrapped with the reason, for an event that is not in the log.
var ErrNotKept = errors.New("the recording cannot be kept")

// Log is what a pod's connections to one target write to. Every hour is a log of its own for the operator, chained
// by itself; the connections go on from one to the next.
type Log struct {
	spool *Spool
	key   string

	block atomic.Bool // OnFailure is Block

	appending sync.Mutex // orders the events of all connections; guards all below and the open part of chain
	options   LogOptions
	chain     *chain
	older     []*chain // closed, perhaps not yet acknowledged
	lost      int64    // events not kept since the last that was
	lostWhy   error
	closed    bool
}

func (l *Log) set(options LogOptions) {
	l.block.Store(options.OnFailure != policy.Continue)
	l.appending.Lock()
	defer l.appending.Unlock()
	l.options = options
}

// Recorder returns the recorder of one connection.
func (l *Log) Recorder() *Connection { return &Connection{log: l} }

// current returns the chain to append to, and closes the one whose time is over. Called with appending held.
func (l *Log) current(now time.Time) (*chain, error) {
	if l.closed {
		return nil, errors.New("the log is closed")
	}
	if c := l.chain; c != nil {
		if !c.abandoned.Load() && (c.until.IsZero() || now.Before(c.until)) {
			return c, nil
		}
		l.closeChain()
	}
	c, err := l.spool.newChain(l, now)
	if err != nil {
		return nil, err
	}
	l.chain = c
	return c, nil
}

// closeChain ends the current chain. Called with appending held.
func (l *Log) closeChain() {
	c := l.chain
	l.chain = nil
	if c.abandoned.Load() {
		c.giveUp(l)
		return
	}
	open := l.older[:0]
	for _, o := range l.older {
		if !o.done() {
			open = append(open, o)
		}
	}
	l.older = append(open, c)
	c.end(l)
}

// close ends the log for good.
func (l *Log) close() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.chain == nil {
		return nil
	}
	c := l.chain
	l.closeChain()
	return c.broken()
}

// expire closes a chain whose time is over while nothing is recorded.
func (l *Log) expire(c *chain) {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.chain == c {
		l.closeChain()
	}
}

// append adds an event to a chain, or counts it as lost. Called with appending held.
func (l *Log) append(c *chain, e *Event, now time.Time) error {
	err := c.append(l, e, now)
	if err == nil {
		return nil
	}
	return l.lose(err)
}

// lose counts an event that is not kept. Called with appending held.
func (l *Log) lose(why error) error {
	l.lost++
	l.lostWhy = why
	if !l.block.Load() {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotKept, l.spool.explain(why))
}

// flush cuts what is there and waits until the operator has all of it.
func (l *Log) flush(ctx context.Context) error {
	l.appending.Lock()
	var chains []*chain
	if c := l.chain; c != nil {
		c.cut(l)
		chains = append(chains, c)
	}
	chains = append(chains, l.older...)
	l.appending.Unlock()
	for _, c := range chains {
		if err := c.wait(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrNotKept, l.spool.explain(err))
		}
	}
	return nil
}
