package wire

const (
	// heavyAgent is from how many bytes of a statement on it may take a millisecond to be judged, heavyServer from how
	// many bytes of a row to be masked.
	heavyAgent  = 8 << 10
	heavyServer = 256 << 10
)

// HeavyAgent tells whether handling n more bytes of the agent's may take long, so that a driver that serves other
// sessions meanwhile should have it done apart: a long statement has to be parsed, or a condition asked elsewhere.
func (c *Core) HeavyAgent(n int) bool {
	passing := c.drop + c.forward
	if c.binding != nil {
		passing += c.binding.left
	}
	if n > 0 && n < passing {
		return false
	}
	return c.copyIn != copyActive && len(c.in)+n-passing >= heavyAgent || c.conditional()
}

// HeavyResume tells it of going on with what was kept while the core waited.
func (c *Core) HeavyResume() bool {
	return len(c.in) >= heavyAgent || len(c.in) > 0 && c.conditional()
}

// conditional tells whether some rule's condition is asked elsewhere, which may take seconds.
func (c *Core) conditional() bool {
	r := c.rules()
	return r != nil && !r.blind
}

// HeavyServer tells it of the server's: a long row has to be masked, or the catalogue read.
func (c *Core) HeavyServer(n int) bool {
	if o := c.queue.front(); o != nil && o.refresh != nil && o.refresh.kind == refreshCatalogue {
		return true
	}
	// What is held whole is handled when its last byte comes.
	return c.need >= heavyServer && len(c.held)+n >= c.need || c.wait == WaitServer && c.HeavyResume()
}
