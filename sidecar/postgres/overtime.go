package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
)

// overtime sees to it that no statement runs for longer than the policy lets it, whatever the server's statement_timeout
// has become: a DO block or a function can set it. The server is faster where it has not been changed.
type overtime struct {
	number    uint64 // of what runs
	since     time.Time
	cancelled bool
}

const (
	// overtimeLook is how often what runs is looked at.
	overtimeLook = time.Second
	// overtimeGrace is left to the server's own statement_timeout.
	overtimeGrace = time.Second
	// overtimeEnd is how long a statement may take to end that was cancelled: code can catch that. The server may wait for an
	// agent that does not read its answers, which has until overtimeUnread.
	overtimeEnd    = 5 * time.Second
	overtimeUnread = time.Minute
)

// errOvertime ends the session of a statement that does not let itself be cancelled.
var errOvertime = errors.New("a statement ran for longer than the policy's limits.statementTimeout, and went on when it was cancelled")

// look tells whether what runs is to be cancelled, or its session to be ended. unread says that the agent has not taken
// all that came before.
func (o *overtime) look(c *wire.Core, now time.Time, unread bool) (cancel, end bool) {
	number, limit := c.Running()
	if number != o.number || number == 0 {
		*o = overtime{number: number, since: now}
		return false, false
	}
	switch over := now.Sub(o.since) - limit; {
	case over <= overtimeGrace:
		return false, false
	case !o.cancelled:
		if cancel, o.cancelled = c.Overdue(); !o.cancelled {
			o.since = now
		}
		return cancel, false
	case unread:
		return false, over > overtimeGrace+overtimeUnread
	default:
		return false, over > overtimeGrace+overtimeEnd
	}
}

// watchTime looks at the session from time to time until it is over.
func (d *driver) watchTime(ctx context.Context) {
	time.AfterFunc(overtimeLook, func() {
		d.mu.Lock()
		if d.over {
			d.mu.Unlock()
			return
		}
		work, unread := func() {}, !d.agent.writing.TryLock()
		if !unread {
			d.agent.writing.Unlock()
		}
		cancel, end := d.overtime.look(d.core, time.Now(), unread)
		if cancel {
			work = d.cancelUpstream(ctx)
		}
		_, toServer := d.core.Pending()
		d.mu.Unlock()
		work()
		if toServer {
			d.flushServer()
		}
		if end {
			d.interrupt(errOvertime)
			return
		}
		d.watchTime(ctx)
	})
}
