package record

import (
	"context"
	"errors"
	"time"
)

// Connection records one connection of an agent. Its methods may be called by several goroutines.
type Connection struct {
	log *Log

	// Guarded by the log's appending.
	chain   *chain // in which number counts
	number  uint32
	connect Event // repeated where the connection goes on in the next hour's log
	ended   bool
}

// Record stamps the event with time and connection and appends it. It returns an error that wraps ErrNotKept when
// the event is not in the log and the policy blocks on failure; where the policy says Continue, the log says
// later how many events are missing.
func (c *Connection) Record(e Event) error {
	if len(e.Data) > maxData {
		return c.recordPieces(e)
	}
	l := c.log
	l.appending.Lock()
	defer l.appending.Unlock()
	now := l.spool.options.Now()
	ch, err := l.current(now)
	if err != nil {
		return l.lose(err)
	}
	return c.append(ch, e, now)
}

// append appends an event to a chain. Called with appending held.
func (c *Connection) append(ch *chain, e Event, now time.Time) error {
	l := c.log
	if c.chain != ch {
		c.chain = ch
		ch.connections++
		c.number = ch.connections
		if c.connect.Kind != "" {
			again := c.connect
			again.Connection = c.number
			if err := l.append(ch, &again, now); err != nil {
				return err
			}
		}
	}
	e.Connection = c.number
	switch e.Kind {
	case KindConnect:
		c.connect = e
	case KindDisconnect:
		c.ended = true
	}
	if err := l.append(ch, &e, now); err != nil {
		return err
	}
	if len(ch.raw) >= chunkSize {
		ch.cutBehind(l)
	}
	return nil
}

// Ready tells whether that many events would be kept now, however long each is. It says no where it would take more than a look: at the first event,
// and as an hour begins.
func (c *Connection) Ready(events int) bool {
	l := c.log
	l.appending.Lock()
	defer l.appending.Unlock()
	ch := l.chain
	return ch != nil && ch == c.chain && !l.closed && l.lost == 0 && !ch.abandoned.Load() && ch.broken() == nil && ch.room(events)
}

// Keep is Record for an event of what has been done, because Ready said that there is room for it: it is kept even where
// others have taken that since, or the volume has failed. The budget is exceeded then by this event, and the next is
// refused.
func (c *Connection) Keep(e Event) {
	l := c.log
	l.appending.Lock()
	ch := l.chain
	if ch == nil || ch != c.chain || l.closed { // the hour is over, or the sidecar's life
		l.appending.Unlock()
		_ = c.Record(e) // is counted as missing where it is not kept
		return
	}
	defer l.appending.Unlock()
	e.Connection = c.number
	ch.keep(&e, l.spool.options.Now())
	if len(ch.raw) >= chunkSize {
		ch.cutBehind(l)
	}
}

// recordPieces records output that is too long for one event as several.
func (c *Connection) recordPieces(e Event) error {
	data := e.Data
	var failures []error
	for len(data) > 0 {
		e.Data = cutText(data, maxData)
		data = data[len(e.Data):]
		failures = append(failures, c.Record(e))
	}
	return errors.Join(failures...)
}

// Flush waits until the operator has acknowledged all that was recorded so far.
func (c *Connection) Flush(ctx context.Context) error { return c.log.flush(ctx) }

// Close ends the connection's part of the log, and the log where it was a terminal's.
func (c *Connection) Close() error {
	l := c.log
	l.appending.Lock()
	open := c.connect.Kind != "" && !c.ended
	terminal := l.options.Terminal
	l.appending.Unlock()
	var failures []error
	if open {
		failures = append(failures, c.Record(Event{Kind: KindDisconnect}))
	}
	if terminal {
		failures = append(failures, l.close())
		l.spool.forget(l)
	}
	return errors.Join(failures...)
}
