package wire

import (
	"encoding/binary"
	"fmt"
)

// copyState is where a COPY FROM STDIN stands.
type copyState uint8

const (
	copyNone copyState = iota
	// copyExpected: forwarded, and the server has not asked for the data yet. Until it does, what the agent
	// sends could be data or not.
	copyExpected
	copyActive
)

// maxOwed bounds the answers that the server owes: an agent that sends on without reading waits.
const maxOwed = 4096

// take handles complete frames of the agent's and returns how many bytes it has dealt with.
func (c *Core) take(p []byte) int {
	at := 0
	for c.wait == WaitNone && !c.closed && !c.ending {
		rest := p[at:]
		if c.drop > 0 || c.forward > 0 || c.binding != nil {
			if len(rest) == 0 {
				break
			}
			at += c.stream(rest)
			continue
		}
		if len(rest) < header {
			break
		}
		kind, length := rest[0], int(binary.BigEndian.Uint32(rest[1:]))
		if length < 4 || length > maxMessage {
			c.fatal(codeProtocolViolation, fmt.Sprintf("invalid message length %d", int32(length)))
			break
		}
		if c.cancels > 0 || c.copyIn == copyExpected && !c.queueIdle() || c.queue.len() >= maxOwed {
			c.flushServer()
			c.wait = WaitServer
			break
		}
		n, ok := c.message(kind, length-4, rest)
		if !ok {
			break
		}
		at += n
		c.refreshed = 0
	}
	return at
}

// queueIdle tells whether the server owes nothing, and forgets a COPY that never asked for data.
func (c *Core) queueIdle() bool {
	if c.queue.len() > 0 {
		return false
	}
	c.copyIn = copyNone
	return true
}

// stream handles bytes of a frame that is not held whole.
func (c *Core) stream(p []byte) int {
	switch {
	case c.drop > 0:
		n := min(c.drop, len(p))
		c.drop -= n
		return n
	case c.forward > 0:
		n := min(c.forward, len(p))
		c.toServer.pass(p[:n])
		c.forward -= n
		return n
	}
	n := min(c.binding.left, len(p))
	if err := c.binding.write(p[:n]); err != nil {
		c.fatal(codeProtocolViolation, err.Error())
		return n
	}
	c.toServer.pass(p[:n])
	if c.binding.left == 0 {
		b := c.binding
		c.binding = nil
		b.portal.setFormats(b.result)
		c.noteValues(b.portal, b)
		b.portal = nil
	}
	return n
}

// message handles the frame at the head of p, whose body has size bytes. It returns how much of p it took; ok is
// false where more bytes, or something else, has to come first.
func (c *Core) message(kind byte, size int, p []byte) (n int, ok bool) {
	if c.segment.skip && kind != msgSync && kind != msgTerminate {
		c.pending = nil
		return c.skip(header + size)
	}
	if c.copyIn == copyActive {
		return c.copyMessage(kind, size, p)
	}
	if c.rules() == nil && kind != msgSync && kind != msgTerminate && kind != msgFlush {
		c.fatal(codeDenied, "no policy has a target for this database any more")
		return 0, false
	}
	limit := c.bound(kind)
	switch {
	case limit < 0:
		c.fatal(codeProtocolViolation, fmt.Sprintf("invalid frontend message type %d", kind))
		return 0, false
	case size > limit && (kind == msgQuery || kind == msgParse):
		if !c.oversize(kind, size) {
			return 0, false
		}
		return c.skip(header + size)
	case size > limit && kind == msgBind:
		return c.longBind(size, p)
	case size > limit:
		c.fatal(codeProtocolViolation, fmt.Sprintf("invalid length %d of a message of type %q", size, kind))
		return 0, false
	}
	if kind == msgFunctionCall { // nothing of it is looked at
		if !c.functionCall() {
			return 0, false
		}
		return c.skip(header + size)
	}
	if kind == msgCopyData || kind == msgCopyDone || kind == msgCopyFail {
		// Left over from a COPY that failed; the server would ignore it too.
		return c.skip(header + size)
	}
	if len(p) < header+size {
		return 0, false
	}
	frame := p[:header+size]
	if !c.frame(kind, frame) {
		return 0, false
	}
	return len(frame), true
}

// bound is the longest body of a message of the kind that is held, negative for unknown kinds.
func (c *Core) bound(kind byte) int {
	switch kind {
	case msgQuery:
		return c.maxText() + 1
	case msgParse:
		return c.maxText() + maxName + maxParameters + 4
	case msgBind:
		return maxHeldBind
	case msgDescribe, msgClose, msgExecute:
		return maxNamed
	case msgFlush, msgSync, msgTerminate, msgCopyDone:
		return 0
	case msgCopyFail:
		return maxSmall
	case msgCopyData, msgFunctionCall:
		return maxMessage
	}
	return -1
}

func (c *Core) maxText() int {
	if r := c.rules(); r != nil {
		return r.maxText
	}
	return maxSmall
}

// skip drops the next n bytes, which may still have to come.
func (c *Core) skip(n int) (int, bool) {
	c.drop = n
	return 0, true
}

// frame handles a complete frame, whose length is within the kind's bound.
func (c *Core) frame(kind byte, frame []byte) bool {
	body := frame[header:]
	switch kind {
	case msgQuery:
		return c.query(frame, body)
	case msgParse:
		return c.parse(frame, body)
	case msgBind:
		return c.bind(frame, body)
	case msgDescribe:
		return c.describe(frame, body)
	case msgExecute:
		return c.execute(frame, body)
	case msgClose:
		return c.close(frame, body)
	case msgFlush:
		if c.segment.open {
			c.toServer.pass(frame)
			c.segment.flushed = true
		}
		return true
	case msgSync:
		c.segment.skip = false
		c.sync(false)
		return true
	case msgTerminate:
		c.toServer.pass(frame)
		c.ending = true
		return true
	}
	return true
}

// copyMessage handles what comes while the server takes COPY data.
func (c *Core) copyMessage(kind byte, size int, p []byte) (int, bool) {
	switch kind {
	case msgCopyData:
		if o := c.queue.front(); o != nil {
			o.run.bytes += int64(size)
		}
		c.forward = header + size
		return 0, true
	case msgFlush, msgSync:
		// The server ignores them here (protocol, "COPY Operations"), and so must the count of its answers.
		return c.skip(header + size)
	case msgCopyDone, msgCopyFail, msgTerminate:
		if size > maxSmall {
			break
		}
		if len(p) < header+size {
			return 0, false
		}
		c.toServer.pass(p[:header+size])
		c.endCopyIn(kind)
		return header + size, true
	}
	// Anything else makes the server fail the COPY; it is not judged, so it is not sent.
	c.fatal(codeProtocolViolation, fmt.Sprintf("unexpected message type %q during COPY from stdin", kind))
	return 0, false
}

func (c *Core) endCopyIn(kind byte) {
	c.copyIn = copyNone
	if kind == msgTerminate {
		c.ending = true
	} else if o := c.queue.front(); o != nil && o.kind == answerQuery && len(o.judgedParts()) > 1 {
		c.copyIn = copyExpected // the query string may hold another COPY
	}
}
