package record

import (
	"context"
	"errors"
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
