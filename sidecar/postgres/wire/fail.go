package wire

import "github.com/jackc/pgproto3/v2"

// errorResponse handles an error of the server's.
func (c *Core) errorResponse(frame []byte, alias bool) {
	var e pgproto3.ErrorResponse
	if err := e.Decode(frame[header:]); err != nil {
		c.brokenf("an ErrorResponse that cannot be read: %v", err)
		return
	}
	severity := e.SeverityUnlocalized
	if severity == "" {
		severity = e.Severity
	}
	o := c.queue.front()
	if o == nil || severity == "FATAL" || severity == "PANIC" {
		// The server ends the session, perhaps without being asked anything.
		c.farewell = true
		c.report(frame, alias)
		return
	}
	c.copyIn, c.copyOut = copyNone, nil
	switch {
	case o.refresh != nil:
		o.refresh.failed = true
	case o.message != nil: // the error that we asked for
		if !c.dropping {
			c.toAgent.add(o.message)
		}
	case o.segment == c.overdue && e.Code == codeCancelled:
		r := c.overdueError()
		e.Message = r.message
		if !c.dropping {
			c.toAgent.put(encodeError(c.toAgent.own(), "ERROR", r))
		}
	default:
		c.report(frame, alias)
	}
	if o.run.command != 0 {
		c.finish(&o.run, "", e.Code, c.compiled.errorText(&e, o))
		o.run.command = 0
	}
	if o.kind != answerQuery {
		c.failSegment(o.segment)
	}
}

// failSegment gives up everything in a segment behind an error: the server skips to its Sync.
func (c *Core) failSegment(segment uint64) {
	n, synced, hidden := 0, false, false
	for ; n < c.queue.len(); n++ {
		o := c.queue.at(n)
		if o.segment != segment {
			break
		}
		if o.kind == answerSync {
			synced, hidden = true, o.hidden
			break
		}
	}
	for i := n - 1; i >= 0; i-- {
		c.names.undo(c.queue.at(i))
	}
	for range n {
		o := c.queue.front()
		if o.run.command != 0 {
			c.finish(&o.run, "", "", "skipped: a statement before it in its pipeline failed")
		}
		c.retire(o)
		c.queue.pop()
	}
	if !synced && c.segment.number == segment || hidden && c.segment.closed == segment {
		c.segment.skip = true
	}
	c.deliver()
}
