package record

import "time"

// end closes a chain: its last chunk says whether something is missing. Where the disk takes no more, the chain
// ends in the room that was reserved when it opened. Called with appending held.
func (c *chain) end(l *Log) {
	c.stopTimers()
	now := c.spool.options.Now()
	if l.lost > 0 {
		c.encode(&Event{Kind: KindLost, Error: missing(l.lost, l.lostWhy)}, now)
		c.missing += l.lost
		l.lost, l.lostWhy = 0, nil
	}
	reason := ""
	if c.missing > 0 {
		reason = count(c.missing, "event is", "events are") + " missing"
	}
	c.encode(&Event{Kind: KindEnd, Error: reason}, now)

	c.cutting.Lock()
	defer c.cutting.Unlock()
	full, p := c.takeFull(), c.takeOpen()
	c.spare = nil
	p.reserved += c.releaseReserve()
	err := c.write(full)
	if err == nil {
		err = c.store(p, p.text, true, c.files.write)
	}
	if err != nil {
		c.endInReserve(p, err, now)
		return
	}
	if err := c.files.dropReserve(); err != nil {
		c.spool.options.Log.Error(err, "the spool is not clean", "log", c.meta.Log)
	}
}

// giveUp leaves a chain that the operator does not take; the next one says what was lost with it. Called with
// appending held.
func (c *chain) giveUp(l *Log) {
	c.stopTimers()
	c.cutting.Lock()
	defer c.cutting.Unlock()
	lost := []piece{c.takeFull(), c.takeOpen()}
	lost = append(lost, c.stuck...)
	c.stuck = nil
	for _, p := range lost {
		c.spool.give(p.reserved)
		l.lost += p.events
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	l.lost += c.unsent
	l.lostWhy = c.over
}

func (c *chain) stopTimers() {
	c.age.Stop()
	if c.expiry != nil {
		c.expiry.Stop()
	}
}

// endInReserve closes a chain with what could not be written given up. Called with cutting held.
func (c *chain) endInReserve(p piece, why error, now time.Time) {
	lost := c.missing + p.events
	for _, s := range c.stuck {
		lost += s.events
		p.reserved += s.reserved
	}
	c.stuck = nil
	said := missing(lost, why)
	closing := c.encodeClosing(now, said)
	err := c.store(p, closing, true, c.files.writeReserved)
	c.failure.Store(nil)
	if err != nil {
		// The operator closes it when it sees that nothing comes any more.
		c.spool.give(p.reserved)
		c.spool.options.Log.Error(err, "a log could not be closed", "log", c.meta.Log, "missing", lost)
		c.failure.Store(&err)
		c.cease()
	}
}

// encodeClosing returns the two events of a log that was broken off.
func (c *chain) encodeClosing(now time.Time, reason string) []byte {
	t := max(0, now.Sub(c.start).Seconds())
	reason = cutText(reason, leastText)
	closing := appendEvent(nil, &Event{Time: t, Kind: KindLost, Error: reason})
	return appendEvent(closing, &Event{Time: t, Kind: KindEnd, Error: reason})
}

// releaseReserve hands the reserved file's room over: it is either used for the last chunk or dropped.
func (c *chain) releaseReserve() int64 {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.held -= block
	return block
}
