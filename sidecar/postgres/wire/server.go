package wire

import (
	"encoding/binary"
)

// mode is how a frame of the server's is handled.
type mode uint8

const (
	modeHold mode = iota
	modePass
	modeDrop
	modeScan   // modePass where no detector could match, else modeHold
	modeStream // masked as it comes
)

// serve handles bytes of the server's.
func (c *Core) serve(p []byte) {
	c.cleared = cleared{}
	for len(p) > 0 && !c.closed {
		switch {
		case c.pass > 0:
			n := min(c.pass, len(p))
			if !c.swallow {
				c.toAgent.pass(p[:n])
			}
			c.pass -= n
			p = p[n:]
			continue
		case c.longRow != nil:
			p = c.streamRow(p)
			continue
		case c.longLine != nil:
			p = c.streamLine(p)
			continue
		case c.need > 0:
			n := min(c.need-len(c.held), len(p))
			c.held = append(c.held, p[:n]...)
			p = p[n:]
			if len(c.held) == c.need {
				c.need = 0
				c.answer(c.held, false)
				if cap(c.held) > keep {
					c.held = nil
				}
				c.held = c.held[:0]
			}
			continue
		}
		// Between frames, or inside a header that was cut.
		head := p
		if len(c.held) > 0 || len(p) < header {
			n := min(header-len(c.held), len(p))
			c.held = append(c.held, p[:n]...)
			p = p[n:]
			if len(c.held) < header {
				return
			}
			head = c.held
		}
		kind, length := head[0], int(binary.BigEndian.Uint32(head[1:]))
		if length < 4 || length > maxMessage {
			c.brokenf("invalid length %d of a message of type %q", int32(length), kind)
			return
		}
		whole := 1 + length
		how := c.classify(kind, length-4)
		switch {
		case c.closed:
			return
		case how == modeStream:
			if len(c.held) == 0 {
				p = p[header:]
			}
			c.held = c.held[:0]
		case how == modePass && len(c.held) == 0 && len(p) >= whole:
			n := c.rowsBehind(p, whole, 0, maxMessage)
			c.toAgent.pass(p[:n])
			p = p[n:]
		case how == modePass || how == modeDrop:
			c.swallow = how == modeDrop
			c.pass = whole - len(c.held)
			if len(c.held) > 0 {
				if !c.swallow {
					c.toAgent.add(c.held)
				}
				c.held = c.held[:0]
			}
		case len(c.held) > 0:
			if whole == header {
				c.answer(c.held, false)
				c.held = c.held[:0]
			} else {
				c.need = whole
			}
		case len(p) < whole:
			c.need = whole
		case how == modeScan && c.isClear(p, whole, c.detectors()):
			n := c.rowsBehind(p, whole, c.cleared.behind, c.bounds.held)
			c.toAgent.pass(p[:n])
			p = p[n:]
		default:
			c.answer(p[:whole], true)
			p = p[whole:]
		}
	}
}

// classify says how to handle a frame by its header alone.
func (c *Core) classify(kind byte, size int) mode {
	switch kind {
	case msgDataRow:
		return c.classifyRow(size)
	case msgCopyData:
		return c.classifyCopy(size)
	}
	var limit int
	switch kind {
	case msgReadyForQuery:
		limit = 1
	case msgParseComplete, msgBindComplete, msgCloseComplete, msgNoData, msgPortalSuspended, msgEmptyQuery, msgCopyDone:
		limit = 0
	case msgCommandComplete, msgParameterStatus, msgNotification:
		limit = maxSmall
	case msgCopyInResponse, msgCopyOutResponse:
		limit = maxSmall
	case msgParameterDescription:
		limit = maxParameters + 4
	case msgRowDescription:
		limit = maxDescription
	case msgErrorResponse, msgNoticeResponse:
		limit = maxReport
	default:
		c.brokenf("a message of type %q", kind)
		return modeDrop
	}
	if size > limit {
		c.brokenf("%d bytes in a message of type %q", size, kind)
	}
	return modeHold
}

// emit sends a frame of the server's on. It is an alias of the server's bytes, or of our own copy.
func (c *Core) emit(frame []byte, alias bool) {
	switch {
	case c.dropping:
	case alias:
		c.toAgent.pass(frame)
	default:
		c.toAgent.add(frame)
	}
}

// answer handles a whole frame of the server's.
func (c *Core) answer(frame []byte, alias bool) {
	kind, body := frame[0], frame[header:]
	switch kind {
	case msgNoticeResponse:
		c.report(frame, alias)
		return
	case msgNotification:
		c.notification(frame, alias)
		return
	case msgParameterStatus:
		c.parameter(frame, body, alias)
		return
	case msgErrorResponse:
		c.errorResponse(frame, alias)
		return
	}
	o := c.queue.front()
	if o == nil {
		c.brokenf("an answer of type %q to nothing", kind)
		return
	}
	switch kind {
	case msgDataRow:
		c.dataRow(o, frame, alias)
	case msgCopyData:
		c.copyLine(o, frame, alias)
	case msgParseComplete:
		c.simpleAnswer(o, answerParse, frame, alias)
	case msgBindComplete:
		c.simpleAnswer(o, answerBind, frame, alias)
	case msgCloseComplete:
		c.simpleAnswer(o, answerClose, frame, alias)
	case msgParameterDescription:
		c.parameterDescription(o, frame, body, alias)
	case msgRowDescription:
		c.rowDescription(o, frame, body, alias)
	case msgNoData:
		c.noData(o, frame, alias)
	case msgCommandComplete, msgEmptyQuery, msgPortalSuspended:
		c.complete(o, frame, alias)
	case msgCopyInResponse, msgCopyOutResponse, msgCopyDone:
		c.copyAnswer(o, frame, alias)
	case msgReadyForQuery:
		c.ready(o, frame, body, alias)
	}
}

// simpleAnswer handles an answer that says nothing but that it went well.
func (c *Core) simpleAnswer(o *owed, kind answer, frame []byte, alias bool) {
	if o.kind != kind {
		c.brokenf("an answer of type %q out of turn", frame[0])
		return
	}
	c.names.settle(o)
	c.emit(frame, alias)
	c.done()
}

// done leaves the answer that has been given.
func (c *Core) done() {
	c.retire(c.queue.front())
	c.queue.pop()
	c.deliver()
}

// retire gives up what is kept for an answer that is not owed any more.
func (c *Core) retire(o *owed) {
	if o.counted {
		o.counted = false
		c.nameWork--
	}
}

// ready handles ReadyForQuery.
func (c *Core) ready(o *owed, frame, body []byte, alias bool) {
	if o.kind != answerSync && o.kind != answerQuery || len(body) != 1 {
		c.brokenf("ReadyForQuery out of turn")
		return
	}
	switch body[0] {
	case txIdle, txOpen, txFailed:
	default:
		c.brokenf("transaction status %q", body[0])
		return
	}
	c.tx = body[0]
	c.copyIn, c.copyOut = copyNone, nil
	if c.tx == txIdle {
		c.names.endTransaction(o.segment)
		if c.touched {
			c.stale, c.touched = true, c.running()
		}
		if c.altering && !c.running() {
			c.altered()
		}
		c.sensitive = c.sensitive && c.running()
	}
	if o.refresh != nil {
		c.refreshEnded(o.refresh)
	}
	if c.dropping && !o.hidden {
		c.dropping = false
	}
	if !o.hidden {
		c.emit(frame, alias)
	}
	c.done()
}

// running tells whether something is under way behind the answer that is given now, so that what it changes has
// not ended yet.
func (c *Core) running() bool { return c.queue.len() > 1 || c.segment.open }
