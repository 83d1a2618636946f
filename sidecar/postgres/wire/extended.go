package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgproto3/v2"

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
		what, _, _ := c.gate(subject{judged: j, verdict: j.verdict, text: j.text, digest: c.digestOf(j.text, nil, nil)})
		return what == refused
	}
	if !c.names.room(len(j.text)) {
		c.refuse(refusal{code: codeTooMany, server: true,
			message: fmt.Sprintf("the session has more than %d prepared statements, or more than %d bytes of them", maxNames, maxNamesText),
			hint:    "Close those that are not used any more."}, false)
		return true
	}
	s := &statement{text: j.text, segment: c.segment.number}
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

func (c *Core) findPortal(name []byte) (p *portal, ok bool) {
	p, settled := c.names.portal(name, c.segment.number)
	if (!settled || p == nil || c.nameWork > 0) && !c.drained() {
		return nil, false
	}
	if p, _ = c.names.portal(name, c.segment.number); p == nil {
		c.missing(codeNoPortal, fmt.Sprintf("portal %q does not exist", name), false)
	}
	return p, true
}

// bind handles a Bind that is held whole.
func (c *Core) bind(frame, body []byte) bool {
	portalName, rest, ok := cut(body)
	name, values, ok2 := cut(rest)
	if !ok || !ok2 {
		return c.invalid("Bind")
	}
	if !c.nameable(portalName, name) {
		return true
	}
	if !c.fresh() {
		return false
	}
	s, ok := c.find(name)
	if !ok {
		return false
	}
	if s == nil {
		return true
	}
	b := &c.binder
	b.reset(len(values), s.declared, s.types)
	if err := b.write(values); err != nil || b.stage != bindDone {
		return c.invalid("Bind")
	}
	j, verdict, named, what := c.rejudge(s)
	if what != passes {
		return what == refused
	}
	p := &portal{statement: s}
	if verdict.Action != policy.Allow || c.pending != nil {
		what, number, grant := c.gate(subject{
			judged: j, verdict: verdict, text: j.text, values: string(b.shown), digest: c.digestOf(j.text, named, b),
		})
		if what != passes {
			return what == refused
		}
		p.command, p.grant, p.granted = number, grant, ruleName{verdict.Policy, verdict.Rule}
	}
	c.bindPortal(frame, portalName, p)
	p.named = named
	c.bindValues(p, b)
	return true
}

// rejudge judges a prepared statement again, as it is bound.
func (c *Core) rejudge(s *statement) (j *judged, v policy.Verdict, named []*statement, what outcome) {
	j = c.judge([]byte(s.text), c.unsure())
	if j.syntax != nil {
		c.pending = nil
		c.refuse(syntaxError(j.syntax), false)
		return j, v, nil, refused
	}
	if s.bySQL {
		v, _ = c.compiled.destination.DecideAll(j.commandsOf(s))
		return j, v, nil, passes
	}
	v, named, what = c.resolve(j, false)
	return j, v, named, what
}

// bindPortal forwards a Bind, or the beginning of one.
func (c *Core) bindPortal(frame, name []byte, p *portal) {
	p.segment, p.made = c.segment.number, c.segment.number
	o := c.extend(frame, owed{kind: answerBind, name: string(name), bound: p})
	o.wasBound = c.names.portals[o.name]
	c.names.portals[o.name] = p
	c.segment.bound++
}

// bindValues completes a portal by what its Bind said.
func (c *Core) bindValues(p *portal, b *binding) {
	p.values = string(b.shown)
	p.digest = c.digestOf(p.statement.text, p.named, b)
	if !sameFormats(p.statement.formats, b.result) {
		p.statement.formats = slices.Clone(b.result)
	}
	p.formats = p.statement.formats
}

func sameFormats(a, b []int16) bool { return slices.Equal(a, b) }

// longBind handles a Bind that is too long to be held: it streams through if nothing about it has to be decided
// by people.
func (c *Core) longBind(size int, p []byte) (int, bool) {
	if size > maxMessage {
		c.fatal(codeProtocolViolation, "invalid length of a Bind message")
		return 0, false
	}
	if len(p) < header+2*(maxName+2) {
		return 0, false
	}
	body := p[header:]
	portalName, rest, ok := cut(body[:2*(maxName+2)])
	name, _, ok2 := cut(rest)
	if !ok || !ok2 {
		return 0, c.invalid("Bind")
	}
	if !c.nameable(portalName, name) {
		return c.skip(header + size)
	}
	s, ok := c.find(name)
	if !ok {
		return 0, false
	}
	if s == nil {
		return c.skip(header + size)
	}
	j, verdict, named, what := c.rejudge(s)
	if what == passes && verdict.Action != policy.Allow {
		if verdict.Action == policy.RequireApproval {
			verdict.Action = policy.Deny
			verdict.Message = fmt.Sprintf("values of %d bytes cannot wait for an approval: at most %d can", size, maxHeldBind)
		}
		what, _, _ = c.gate(subject{judged: j, verdict: verdict, text: j.text})
	}
	switch what {
	case waits:
		return 0, false
	case refused:
		return c.skip(header + size)
	}
	head := header + len(portalName) + len(name) + 2
	b := &c.binder
	b.reset(size-(head-header), s.declared, s.types)
	b.portal = &portal{statement: s, named: named}
	c.bindPortal(p[:head], portalName, b.portal)
	c.binding = b
	return head, true
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

// execute handles an Execute: the portal's statement is judged once more, as of now.
func (c *Core) execute(frame, body []byte) bool {
	name, rest, ok := cut(body)
	if !ok || len(rest) != 4 {
		return c.invalid("Execute")
	}
	if !c.nameable(name) {
		return true
	}
	if !c.fresh() {
		return false
	}
	p, ok := c.findPortal(name)
	if !ok {
		return false
	}
	if p == nil {
		return true
	}
	s := p.statement
	j := c.judge([]byte(s.text), c.unsure())
	verdict, what := c.executable(p, j)
	if what != passes {
		return what == refused
	}
	what, number, grant := c.gate(subject{
		judged: j, verdict: verdict, text: j.text, values: p.values, digest: p.digest, command: p.command,
	})
	if what != passes {
		return what == refused
	}
	if grant != nil {
		p.grant, p.granted = grant, ruleName{verdict.Policy, verdict.Rule}
	}
	p.command = number
	if c.compiled.masks() && s.described == nil && !p.describing && j.mayReturn(s) {
		c.send(&pgproto3.Describe{ObjectType: 'P', Name: string(name)})
		o := c.extend(nil, owed{kind: answerDescribePortal, hidden: true})
		o.describes, o.of = s, p
	}
	o := c.extend(frame, owed{kind: answerExecute, judged: j})
	o.of = p
	o.run = execution{command: number, named: p.named, granted: p.granted}
	c.segment.executed++
	c.forwarded(o)
	return true
}

// executable decides a portal's statement as of now; what it was approved for at its Bind stands.
func (c *Core) executable(p *portal, j *judged) (policy.Verdict, outcome) {
	s := p.statement
	if j.syntax != nil {
		c.pending = nil
		c.refuse(syntaxError(j.syntax), false)
		return policy.Verdict{}, refused
	}
	var v policy.Verdict
	switch {
	case s.bySQL:
		v, _ = c.compiled.destination.DecideAll(j.commandsOf(s))
	case j.uses:
		all := j.commands
		for _, n := range p.named {
			if n != nil {
				all = append(all[:len(all):len(all)], c.commandsOf(n, p.granted)...)
			}
		}
		v, _ = c.compiled.destination.DecideAll(all)
	default:
		v = j.verdict
	}
	if v.Action == policy.RequireApproval && p.granted == (ruleName{v.Policy, v.Rule}) && (p.grant != nil || p.cursor) {
		v.Action = policy.Allow
	}
	return v, passes
}
