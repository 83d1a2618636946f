package wire

import (
	"fmt"
	"time"
)

// LimitsTime tells whether the policy limits the time of statements.
func (c *Core) LimitsTime() bool {
	r := c.rules()
	return r != nil && r.settings.Limits.StatementTimeoutMS > 0
}

// Running numbers what the server works on now, and gives how long the policy lets it (limits.statementTimeout).
// 0: it works on nothing, or for as long as it takes.
func (c *Core) Running() (number uint64, limit time.Duration) {
	o := c.queue.front()
	if o == nil || c.closed || c.compiled == nil {
		return 0, 0
	}
	limit = time.Duration(c.compiled.settings.Limits.StatementTimeoutMS) * time.Millisecond
	if limit <= 0 {
		return 0, 0
	}
	return c.queue.popped<<16 + uint64(o.run.part) + 1, limit
}

// Overdue says that it has taken longer than that. Where cancel is true the server is to be told to cancel it, and the
// error by which it ends tells the agent why. Where sure is not, the server may have done it, and keep its answers back
// until a Sync or a Flush: it has been asked for them where the agent is not amid a message, and its time begins anew. A
// cancel request that finds it idle does nothing.
func (c *Core) Overdue() (cancel, sure bool) {
	o := c.queue.front()
	switch {
	case o == nil:
		return false, false
	case o.kind == answerQuery || o.segment != c.segment.number || c.segment.flushed || c.copyIn == copyActive:
		cancel, sure = true, true
	case c.binding != nil || c.forward > 0:
		cancel = true
	default:
		c.flushServer()
		return false, false
	}
	c.overdue = o.segment
	return cancel, sure
}

// overdueError is what the agent is told in place of a cancelled statement's error.
func (c *Core) overdueError() refusal {
	limit := time.Duration(c.compiled.settings.Limits.StatementTimeoutMS) * time.Millisecond
	return refusal{
		code: codeCancelled, message: fmt.Sprintf("the statement ran for longer than %v", limit),
		detail: "The policy says limits.statementTimeout.",
		hint:   "The session's statement_timeout would have ended it, and has been changed by code of the server.",
	}
}
