package wire

import (
	"fmt"
	"slices"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

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
	if err := b.check(values); err != nil || b.stage != bindDone {
		return c.invalid("Bind")
	}
	j, verdict, named, what := c.rejudge(s)
	if what != passes {
		return what == refused
	}
	p := &portal{statement: s, named: named, place: c.place(), unread: values}
	// The server computes what is constant as it plans, so a function that calls itself immutable runs by the Bind,
	// whatever it does: that has to be in the record though no Execute may follow.
	if verdict.Action != policy.Allow || c.pending != nil || j.calls {
		what, number, grant := c.gate(subject{judged: j, verdict: verdict, text: j.text, portal: p})
		if what != passes {
			return what == refused
		}
		p.command = number
		if grant != nil {
			p.grant, p.granted = grant, ruleName{verdict.Policy, verdict.Rule}
		}
	}
	p.setFormats(b.result)
	c.bindPortal(frame, portalName, p, j)
	if c.later {
		c.unread = append(c.unread, p)
	} else {
		c.read(p)
	}
	return true
}

// rejudge judges a prepared statement again, as it is bound.
func (c *Core) rejudge(s *statement) (j *judged, v policy.Verdict, named []*statement, what outcome) {
	j = c.judgeStatement(s)
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

// bindPortal forwards a Bind, or the beginning of one. The server plans the statement then, and so computes what is
// constant in it.
func (c *Core) bindPortal(frame, name []byte, p *portal, j *judged) {
	p.segment, p.made = c.segment.number, c.segment.number
	p.changes = p.bindings()
	o := c.extend(frame, owed{kind: answerBind, name: string(name), bound: p})
	o.sensitive = j.touches || p.named != nil && c.compiled.ByName()
	o.wasBound = c.names.portals[o.name]
	c.names.portals[o.name] = p
	c.segment.bound++
}

// setFormats notes the Bind's result formats, mostly those of the Bind before.
func (p *portal) setFormats(formats []int16) {
	if !slices.Equal(p.statement.formats, formats) {
		p.statement.formats = slices.Clone(formats)
	}
	p.formats = p.statement.formats
}

// read has the values that a portal was bound with told to people and digested, where that has not been done yet.
func (c *Core) read(p *portal) {
	if p.unread == nil {
		return
	}
	b := &c.reader
	b.reset(len(p.unread), p.statement.declared, p.statement.types)
	_ = b.write(p.unread) // has been checked
	c.noteValues(p, b)
}

// noteValues notes what a portal was bound with.
func (c *Core) noteValues(p *portal, b *binding) {
	p.values = string(b.shown)
	p.digest = c.digestOf(p.statement.text, p.place, p.named, b)
	p.unread = nil
}

// readAll reads what is unread, before the bytes that it is in change.
func (c *Core) readAll() {
	for i, p := range c.unread {
		c.read(p)
		c.unread[i] = nil
	}
	c.unread = c.unread[:0]
}

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
	if what == passes && (verdict.Action != policy.Allow || j.calls) {
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
	b.portal = &portal{statement: s, named: named, place: c.place()}
	c.bindPortal(p[:head], portalName, b.portal, j)
	c.binding = b
	return head, true
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
	j := c.planned(p)
	verdict, what := c.executable(p, j)
	if what != passes {
		return what == refused
	}
	what, number, grant := c.gate(subject{judged: j, verdict: verdict, text: j.text, portal: p, command: p.command})
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
		for i, n := range p.named {
			switch {
			case n != nil:
				all = append(all[:len(all):len(all)], c.commandsOf(n, p.granted)...)
			case i < len(j.parts) && j.parts[i].byName() != nil:
				all = append(all[:len(all):len(all)], unknownCursor(&j.parts[i]))
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
