package record

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// The pauses between attempts to reach the operator: doubled from least to most, each shortened by a random
	// part of up to a half, so that sidecars do not come back all at once.
	leastPause = 100 * time.Millisecond
	mostPause  = 15 * time.Second
	// hurriedPause is the most while a command waits for its acknowledgement.
	hurriedPause = 500 * time.Millisecond
	// window is how many chunks may be on their way unacknowledged.
	window = 8
	// answerTime is how long the operator may take to acknowledge: its bucket may be slow, but not this slow.
	answerTime = 30 * time.Second
)

// ErrRefused is wrapped by the errors of an Uplink that will not change: the operator does not take this log.
var ErrRefused = errors.New("the operator refuses the log")

// errUnfollowable is wrapped by acknowledge's errors.
var errUnfollowable = errors.New("the log cannot be continued")

// send brings the chain to the operator, for as long as it takes; it returns when the operator has all of it, when
// it can take no more of it, or when ctx ends.
func (c *chain) send(ctx context.Context) {
	pause := leastPause
	for {
		if err := c.await(ctx, func() bool { return c.cutTo > c.acked || c.last }); err != nil {
			c.finish(err)
			return
		}
		before, _ := c.progress()
		err := c.deliver(ctx)
		switch {
		case err == nil:
			c.spool.trouble.Store(nil)
			c.discard()
			c.finish(errSent)
			return
		case ctx.Err() != nil:
			c.finish(ctx.Err())
			return
		case errors.Is(err, ErrRefused), errors.Is(err, errUnfollowable):
			c.spool.options.Log.Error(err, "a log is given up", "log", c.meta.Log, "target", c.meta.Target)
			c.discard()
			c.finish(err)
			c.abandoned.Store(true)
			return
		}
		after, waiting := c.progress()
		if waiting { // else a stream on which nothing happened was ended, which is no trouble
			c.spool.trouble.Store(&err)
			c.spool.options.Log.V(1).Info("the operator does not take a log", "log", c.meta.Log, "reason", err.Error())
		}
		if after > before {
			pause = leastPause
		}
		c.rest(ctx, pause/2+rand.N(pause/2)) //nolint:gosec // G404: jitter is no secret
		pause = min(2*pause, mostPause)
	}
}

// progress is how many chunks the operator has, and whether it lacks some.
func (c *chain) progress() (acked uint64, waiting bool) {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.acked, c.acked < c.cutTo
}

// rest pauses, less long where somebody waits.
func (c *chain) rest(ctx context.Context, pause time.Duration) {
	if pause <= hurriedPause {
		sleep(ctx, pause, nil)
		return
	}
	sleep(ctx, hurriedPause, nil)
	sleep(ctx, pause-hurriedPause, c.hurry)
}

func sleep(ctx context.Context, d time.Duration, hurry <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hurry:
	case <-ctx.Done():
	}
}

// deliver opens a stream and sends on it until the chain is complete and acknowledged.
func (c *chain) deliver(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(answerTime, func() { cancel(fmt.Errorf("no answer within %s", answerTime)) })
	defer slow.Stop()
	stream, err := c.spool.options.Uplink.Open(ctx, c.meta)
	if err != nil {
		return fmt.Errorf("opening the log's stream: %w", cause(ctx, err))
	}
	next, err := c.receive(stream, slow)
	if err != nil {
		_ = stream.Close() // the first error is the one that counts
		return cause(ctx, err)
	}
	c.spool.trouble.Store(nil)

	received := make(chan struct{})
	go func() {
		defer close(received)
		for {
			if _, err := c.receive(stream, slow); err != nil {
				cancel(err)
				return
			}
		}
	}()
	err = c.push(ctx, stream, next, slow)
	if err == nil {
		err = c.await(ctx, func() bool { return c.acked == c.cutTo })
	}
	if err != nil && !errors.Is(err, errUnfollowable) {
		<-ctx.Done() // a stream that breaks says why to its receiver, which cancels
	}
	err = cause(ctx, err)
	cancel(nil)
	_ = stream.Close()
	<-received
	return err
}

// cause returns why ctx was cancelled, where that explains err.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// push sends chunks as they are cut, at most window ahead of the acknowledgements, and returns after the last.
func (c *chain) push(ctx context.Context, stream Stream, next uint64, slow *time.Timer) error {
	for {
		var last bool
		err := c.await(ctx, func() bool {
			last = c.last && next == c.cutTo
			ready := next < c.cutTo && next < c.acked+window
			if ready {
				slow.Reset(answerTime)
			}
			return last || ready
		})
		if err != nil || last {
			return err
		}
		chunk, err := c.files.read(next)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnfollowable, err)
		}
		if err := stream.Send(*chunk); err != nil {
			return fmt.Errorf("sending chunk %d: %w", next, err)
		}
		next++
	}
}

// receive takes one acknowledgement.
func (c *chain) receive(stream Stream, slow *time.Timer) (next uint64, err error) {
	next, recording, err := stream.Recv()
	if err != nil {
		return 0, fmt.Errorf("waiting for an acknowledgement: %w", err)
	}
	if err := c.acknowledge(next, recording); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnfollowable, err)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.acked == c.cutTo {
		slow.Stop()
	} else {
		slow.Reset(answerTime)
	}
	return next, nil
}
