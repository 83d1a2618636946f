package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// delivery is what the sender of a chain shares with those who wait for the operator's acknowledgement.
type delivery struct {
	sending sync.Mutex // guards all below
	// The chunks from oldest up to cutTo are in the spool, in order; below acked the operator has them. The
	// newest acknowledged one stays: after a restart, the chain goes on from it.
	oldest, cutTo, acked uint64
	chunks               []spooled
	unsent               int64 // events of a chain that was given up
	last                 bool  // the last chunk is in the spool
	over                 error // set when nothing more is sent; errSent when all was
	recording            string

	changed chan struct{} // closed and replaced whenever something above changes
	hurry   chan struct{} // somebody waits: do not sleep long before the next attempt
}

// spooled is what a chunk takes of the spool, and how many events it has.
type spooled struct{ size, events int64 }

var errSent = errors.New("sent")

func newDelivery() delivery {
	return delivery{changed: make(chan struct{}), hurry: make(chan struct{}, 1)}
}

// notify wakes everybody. Called with sending held.
func (d *delivery) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// written notes a chunk that is in the spool.
func (d *delivery) written(chunk spooled, last bool) {
	d.sending.Lock()
	defer d.sending.Unlock()
	d.chunks = append(d.chunks, chunk)
	d.cutTo++
	d.last = last
	d.notify()
}

// finish notes that nothing more is sent.
func (d *delivery) finish(why error) {
	d.sending.Lock()
	defer d.sending.Unlock()
	d.over = why
	d.notify()
}

// done tells whether nothing more is sent.
func (d *delivery) done() bool {
	d.sending.Lock()
	defer d.sending.Unlock()
	return d.over != nil
}

// await returns as soon as ready says so, with sending held while it is asked; or ctx's error.
func (d *delivery) await(ctx context.Context, ready func() bool) error {
	for {
		d.sending.Lock()
		ok, changed := ready(), d.changed
		d.sending.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait returns once the operator has all chunks that are cut by now.
func (c *chain) wait(ctx context.Context) error {
	if err := c.broken(); err != nil {
		return err
	}
	c.sending.Lock()
	want := c.cutTo
	c.sending.Unlock()
	select {
	case c.hurry <- struct{}{}:
	default:
	}
	var over error
	err := c.await(ctx, func() bool {
		over = c.over
		return c.acked >= want || over != nil
	})
	if err == nil && over != nil && !errors.Is(over, errSent) {
		err = over
	}
	if err != nil {
		return fmt.Errorf("waiting for the operator's acknowledgement: %w", err)
	}
	return nil
}

// acknowledge notes that the operator has every chunk below next and drops what is not needed any more. It returns
// an error where the operator cannot be followed: it wants what is gone, or has what never was.
func (c *chain) acknowledge(next uint64, recording string) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	switch {
	case next > c.cutTo:
		return fmt.Errorf("the operator has %d chunks, only %d were made", next, c.cutTo)
	case next < c.oldest:
		return fmt.Errorf("the operator wants chunk %d, which it had acknowledged", next)
	}
	if recording != "" {
		c.recording = recording
	}
	c.acked = max(c.acked, next)
	for c.oldest+1 < c.acked {
		if err := c.files.drop(c.oldest); err != nil {
			c.spool.options.Log.Error(err, "the spool is not clean", "log", c.meta.Log)
		}
		c.spool.give(c.chunks[0].size)
		c.chunks = c.chunks[1:]
		c.oldest++
	}
	c.notify()
	return nil
}

// cease tells the sender that no last chunk will come.
func (c *chain) cease() {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.last = true
	c.notify()
}

// discard removes the chain from the spool.
func (c *chain) discard() {
	if err := c.files.dropAll(); err != nil {
		c.spool.options.Log.Error(err, "the spool is not clean", "log", c.meta.Log)
		return
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	for i, chunk := range c.chunks {
		c.spool.give(chunk.size)
		if c.oldest+uint64(i) >= c.acked {
			c.unsent += chunk.events
		}
	}
	c.chunks = nil
	c.spool.give(c.held)
	c.held = 0
}
