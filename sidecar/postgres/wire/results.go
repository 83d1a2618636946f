package wire

import "github.com/chaperone-dev/chaperone/sidecar/record"

// maxLater bounds the results that wait to be recorded.
const maxLater = 16

// ResultsLater says that results need not be recorded before their answers are given to the agent: RecordResults is called
// when they have been sent. Whether a result was kept shows at the next command in any case, and no command, decision or
// other event is recorded before the results that were there.
func (c *Core) ResultsLater() { c.later = true }

// RecordResults records the results that ResultsLater has put off.
func (c *Core) RecordResults() {
	c.later = false
	c.recordResults()
}

func (c *Core) recordResults() {
	for i := range c.results {
		_ = c.cfg.Record(c.results[i]) // whether it was kept shows at the next command
	}
	clear(c.results)
	c.results = c.results[:0]
}

// ended records a result, or puts it off.
func (c *Core) ended(e record.Event) {
	if !c.later || len(c.results) == maxLater {
		_ = c.record(e)
		return
	}
	c.results = append(c.results, e)
}

// record records an event behind the results that were put off.
func (c *Core) record(e record.Event) error {
	if len(c.results) > 0 {
		c.recordResults()
	}
	return c.cfg.Record(e)
}
