package wire

import "github.com/chaperone-dev/chaperone/sidecar/record"

// maxLater bounds the events that wait to be recorded, keptLater how many of them a session keeps the place of.
const (
	maxLater  = 16
	keptLater = 4
)

// deferred is what is recorded as soon as it has been sent on: a result, or a command that was allowed without a
// condition.
type deferred struct {
	result record.Event

	command bool
	number  uint64
	subject subject
	rules   *Rules
}

// RecordLater says that what is judged from now on need not be recorded before it is sent on: RecordNow is called when
// that has been done, and before the bytes that it was in are changed. The server, or the agent, works meanwhile. What is
// put off is a result, and a command that the recording has room for (Config.Ready); everything else that is recorded
// comes behind what was put off before it, and whether a result was kept shows at the next command in any case.
func (c *Core) RecordLater() { c.later = true }

// RecordNow records what RecordLater has put off.
func (c *Core) RecordNow() {
	c.later = false
	c.recordDeferred()
	c.readAll()
}

func (c *Core) postpone(u deferred) {
	if len(c.deferred) == maxLater {
		c.recordDeferred()
	}
	c.deferred = append(c.deferred, u)
}

func (c *Core) recordDeferred() {
	for i := range c.deferred {
		u := &c.deferred[i]
		if u.command {
			c.cfg.Keep(c.commandEvent(u.number, &u.subject, u.rules))
		} else {
			_ = c.cfg.Record(u.result)
		}
	}
	if cap(c.deferred) > keptLater {
		c.deferred = nil
		return
	}
	clear(c.deferred)
	c.deferred = c.deferred[:0]
}

// record records an event behind those that were put off.
func (c *Core) record(e record.Event) error {
	if len(c.deferred) > 0 {
		c.recordDeferred()
	}
	return c.cfg.Record(e)
}
