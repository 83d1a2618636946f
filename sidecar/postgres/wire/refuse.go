package wire

import (
	"github.com/jackc/pgproto3/v2"
)

// refuse answers a message that is not forwarded, at its place among the answers that the server still owes.
//
// A policy's refusal leaves an open transaction as it is: the status that follows is the server's own. Where the
// server would have failed too (a syntax error), and where what went before in the same pipeline would be
// committed as if nothing had happened, a message that the server must refuse is sent instead and its error
// replaced by ours, so that the server does to the transaction what it does on any error.
func (c *Core) refuse(r refusal, simple bool) {
	message := encodeError(nil, "ERROR", r)
	switch {
	case simple && c.segment.open:
		// A simple query ends the extended one before it, as a Sync does.
		c.poison(message)
		c.sync(false)
	case simple && r.server && (c.tx != txIdle || c.queue.len() > 0):
		c.send(&pgproto3.Query{String: c.unknownName()})
		c.queue.push(owed{kind: answerQuery, segment: c.segment.number, message: message})
		c.nextSegment()
	case simple:
		c.queue.push(owed{kind: answerOwn, segment: c.segment.number, message: message, ready: true})
		c.nextSegment()
		c.deliver()
	case r.server && (c.tx != txIdle || c.segment.open), c.segment.executed > 0 && c.tx == txIdle:
		c.poison(message)
		c.segment.skip = true
	default:
		c.queue.push(owed{kind: answerOwn, segment: c.segment.number, message: message})
		c.segment.skip = true
		c.deliver()
		if c.queue.len() > 0 {
			c.flushServer()
		}
	}
}

// poison sends what the server must refuse: the description of a statement that does not exist. The answers to
// what was sent before come first, because an error makes the server send all it has.
func (c *Core) poison(message []byte) {
	c.send(&pgproto3.Describe{ObjectType: 'S', Name: c.unknownName()})
	c.queue.push(owed{kind: answerRefused, segment: c.segment.number, message: message})
	c.segment.open = true
}

// unknownName is no statement's name, nor a statement: the agent cannot guess it. It is what the server's log
// shows where the sidecar refused.
func (c *Core) unknownName() string { return "refused by chaperone " + c.cfg.Nonce }

// sync ends the segment at the server.
func (c *Core) sync(hidden bool) {
	c.send(&pgproto3.Sync{})
	c.queue.push(owed{kind: answerSync, segment: c.segment.number, hidden: hidden, sensitive: c.sensitive})
	ended := c.segment.number
	c.nextSegment()
	if hidden {
		c.segment.closed = ended
	}
}

// flushServer makes the server send the answers that it holds back until the Sync.
func (c *Core) flushServer() {
	if c.segment.open && !c.segment.flushed {
		c.send(&pgproto3.Flush{})
		c.segment.flushed = true
	}
}

// drained tells whether the server owes nothing; if not, the session waits for it.
func (c *Core) drained() bool {
	if c.queue.len() == 0 {
		return true
	}
	c.flushServer()
	c.wait = WaitServer
	return false
}

// quiet waits until the server owes nothing and, where that is possible, holds nothing for the agent: a segment
// in which nothing was bound yet is ended behind the agent's back, so that no lock is kept while people decide.
// inside says that a transaction is open all the same, by what the pipeline has done.
func (c *Core) quiet() (ready, inside bool) {
	if c.segment.open && c.segment.bound == 0 && c.segment.executed == 0 {
		c.sync(true)
	}
	return c.drained(), c.segment.open
}

// deliver sends the answers of our own whose turn has come.
func (c *Core) deliver() {
	for o := c.queue.front(); o != nil && o.kind == answerOwn; o = c.queue.front() {
		c.toAgent.add(o.message)
		if o.ready {
			c.toAgent.put(c.readyForQuery(c.toAgent.own()))
		}
		c.queue.pop()
	}
}

func (c *Core) readyForQuery(dst []byte) []byte {
	return append(dst, msgReadyForQuery, 0, 0, 0, 5, c.tx)
}

// send encodes a message to the server.
func (c *Core) send(m pgproto3.FrontendMessage) {
	out, err := m.Encode(c.toServer.own())
	if err != nil { // only a message over 1 GiB, and we make none
		c.fatal(codeSystem, "a message could not be encoded: "+err.Error())
		return
	}
	c.toServer.put(out)
}
