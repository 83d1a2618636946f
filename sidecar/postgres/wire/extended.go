package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// cut takes a zero-terminated string off the front.
func cut(p []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(p, 0)
	if i < 0 {
		return nil, nil, false
	}
	return p[:i], p[i+1:], true
}

// invalid ends the session over a message that breaks the protocol.
func (c *Core) invalid(message string) bool {
	c.fatal(codeProtocolViolation, "invalid "+message+" message")
	return false
}

// nameable refuses names that the server would cut.
func (c *Core) nameable(names ...[]byte) bool {
	for _, n := range names {
		if len(n) > maxName {
			c.refuse(refusal{code: codeNameTooLong, server: true,
				message: fmt.Sprintf("the name of a prepared statement or portal is longer than %d bytes", maxName)}, false)
			return false
		}
	}
	return true
}

// parse handles a Parse: its text is judged here for the first time. What needs an approval is prepared, because
// only the Bind says what is to be approved.
func (c *Core) parse(frame, body []byte) bool {
	name, rest, ok := cut(body)
	text, types, ok2 := cut(rest)
	if !ok || !ok2 || len(types) < 2 || len(types) != 2+4*int(binary.BigEndian.Uint16(types)) {
		return c.invalid("Parse")
	}
	if !c.nameable(name) {
		return true
	}
	if !c.fresh() {
		return false
	}
	if _, settled := c.names.statement(name, c.segment.number); (!settled || c.nameWork > 0) && !c.drained() {
		return false
	}
	j := c.judge(text, c.unsure())
	if j.syntax != nil {
		c.refuse(syntaxError(j.syntax), false)
		return true
	}
	if j.verdict.Action == policy.Deny {
		what, _, _ := c.gate(subject{judged: j, verdict: j.verdict, text: j.text, place: c.place(), digested: true})
		return what == refused
	}
	if !c.names.room(len(j.text)) {
		c.refuse(refusal{code: codeTooMany, server: true,
			message: fmt.Sprintf("the session has more than %d prepared statements, or more than %d bytes of them", maxNames, maxNamesText),
			hint:    "Close those that are not used any more."}, false)
		return true
	}
	s := &statement{text: j.text, segment: c.segment.number}
	c.found(s, j.commandsOf(s))
	c.remember(s, j)
	if len(types) > 2 {
		s.declared = slices.Clone(types)
	}
	o := c.extend(frame, owed{kind: answerParse, name: string(name), statement: s})
	o.wasStmt = c.names.statements[o.name]
	c.names.statements[o.name] = s
	return true
}

// extend forwards a message of the extended protocol.
func (c *Core) extend(frame []byte, o owed) *owed {
	if frame != nil {
		c.toServer.pass(frame)
	}
	c.segment.open, c.segment.flushed = true, false
	o.segment = c.segment.number
	return c.queue.push(o)
}

// find looks a statement up, waiting for the server where the answer depends on it; nil and true: it does not
// exist, which has been answered.
func (c *Core) find(name []byte) (s *statement, ok bool) {
	s, settled := c.names.statement(name, c.segment.number)
	if (!settled || s == nil || c.nameWork > 0) && !c.drained() {
		return nil, false
	}
	if s, _ = c.names.statement(name, c.segment.number); s == nil {
		message := fmt.Sprintf("prepared statement %q does not exist", name)
		if len(name) == 0 {
			message = "unnamed prepared statement does not exist"
		}
		c.missing(codeNoStatement, message, false)
	}
	return s, true
}

// describe handles a Describe.
func (c *Core) describe(frame, body []byte) bool {
	if len(body) < 2 || bytes.IndexByte(body[1:], 0) != len(body)-2 {
		return c.invalid("Describe")
	}
	name := body[1 : len(body)-1]
	if !c.nameable(name) {
		return true
	}
	switch body[0] {
	case 'S':
		s, ok := c.find(name)
		if ok && s != nil {
			o := c.extend(frame, owed{kind: answerDescribeStatement})
			o.describes = s
		}
		return ok
	case 'P':
		p, ok := c.findPortal(name)
		if ok && p != nil {
			p.describing = true
			o := c.extend(frame, owed{kind: answerDescribePortal})
			o.describes, o.of = p.statement, p
		}
		return ok
	}
	return c.invalid("Describe")
}

// close handles a Close.
func (c *Core) close(frame, body []byte) bool {
	if len(body) < 2 || bytes.IndexByte(body[1:], 0) != len(body)-2 || body[0] != 'S' && body[0] != 'P' {
		return c.invalid("Close")
	}
	name := body[1 : len(body)-1]
	if !c.nameable(name) {
		return true
	}
	var settled bool
	if body[0] == 'S' {
		_, settled = c.names.statement(name, c.segment.number)
	} else {
		_, settled = c.names.portal(name, c.segment.number)
	}
	if (!settled || c.nameWork > 0) && !c.drained() {
		return false
	}
	o := c.extend(frame, owed{kind: answerClose, name: string(name)})
	if body[0] == 'S' {
		if o.wasStmt = c.names.statements[o.name]; o.wasStmt != nil {
			o.statement = &statement{gone: true, segment: c.segment.number}
			c.names.statements[o.name] = o.statement
		}
	} else if o.wasBound = c.names.portals[o.name]; o.wasBound != nil {
		o.bound = &portal{gone: true, segment: c.segment.number}
		c.names.portals[o.name] = o.bound
	}
	return true
}
