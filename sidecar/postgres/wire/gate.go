package wire

import (
	"errors"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// subject is a command that stands before the gate.
type subject struct {
	judged  *judged
	verdict policy.Verdict
	// text and values as they are, not yet masked; digest over what will run. fill finds what is not there yet: of a
	// portal, or of what stands at place and is named, where it is to be digested.
	text, values, digest string

	portal   *portal
	place    place
	named    []*statement
	digested bool
	// simple is a simple query, which is answered with a ReadyForQuery of its own.
	simple bool
	// command is the number it was recorded under before; 0 when this is the first time.
	command uint64
}

// pending is a subject that waits at the gate. The agent's message is kept meanwhile and comes to the gate again
// whenever what it waited for has happened.
type pending struct {
	command uint64
	refusal *refusal
	// flushed, decided: what was waited for has happened.
	flushed  bool
	flushErr error
	asking   bool
	inside   bool
	ask      session.Ask
	decided  bool
	grant    *session.Grant
	decision error
	settled  bool // the decision is recorded
}

// outcome is what the gate said.
type outcome uint8

const (
	// waits: the message stays where it is.
	waits outcome = iota
	// passes: forward it.
	passes
	// refused: it has been answered.
	refused
)

// gate carries a verdict out: it records, waits for the records to be safe, for an approval, and answers what is
// refused. Its grant and the command's number are for a message that passes.
func (c *Core) gate(s subject) (outcome, uint64, *session.Grant) {
	p := c.pending
	if p == nil {
		if s.verdict.Action == policy.Allow && !c.guarded(s) {
			return c.admit(s)
		}
		c.fill(&s)
		p = &pending{command: s.command}
		c.pending = p
		switch s.verdict.Action {
		case policy.Allow:
			if err := c.recordCommand(&p.command, s); err != nil {
				return c.reject(s, unrecorded(err))
			}
			return c.flush()
		case policy.RequireApproval:
			// below
		default:
			r := denial(s.verdict)
			p.refusal = &r
			// A refusal stands whether or not it could be recorded.
			_ = c.recordCommand(&p.command, s)
			return c.flush()
		}
	}
	c.fill(&s)
	switch {
	case p.refusal != nil:
		return c.reject(s, *p.refusal)
	case p.asking:
		return c.conclude(s, p)
	case p.flushed: // an allowed command whose record had to be safe
		if p.flushErr != nil && c.recording().OnFailure != policy.Continue {
			return c.reject(s, unrecorded(p.flushErr))
		}
		return c.release(nil)
	}
	return c.ask(s, p)
}

// guarded tells whether an allowed command's record has to be safe before it runs.
func (c *Core) guarded(s subject) bool {
	return s.command == 0 && c.recording().Durability == policy.Acknowledged && (s.judged == nil || !s.judged.reads)
}

// fill adds values and digest.
func (c *Core) fill(s *subject) {
	switch {
	case s.digest != "":
	case s.portal != nil:
		c.read(s.portal)
		s.values, s.digest = s.portal.values, s.portal.digest
	case s.digested:
		s.digest = c.digestOf(s.text, s.place, s.named, nil)
	}
}

// admit records an allowed command, once, now or as soon as it has been sent on, and lets it pass.
func (c *Core) admit(s subject) (outcome, uint64, *session.Grant) {
	number := s.command
	if number != 0 {
		return passes, number, nil
	}
	if c.later && c.cfg.Ready != nil && c.cfg.Ready(len(c.deferred)+1) {
		c.commands++
		c.postpone(deferred{command: true, number: c.commands, subject: s, rules: c.compiled})
		return passes, c.commands, nil
	}
	if err := c.recordCommand(&number, s); err != nil {
		return c.reject(s, unrecorded(err))
	}
	return passes, number, nil
}

// flush waits for the records to be safe.
func (c *Core) flush() (outcome, uint64, *session.Grant) {
	c.wait = WaitFlush
	return waits, 0, nil
}

// reject answers the message that stands at the gate.
func (c *Core) reject(s subject, r refusal) (outcome, uint64, *session.Grant) {
	c.pending = nil
	c.refuse(r, s.simple)
	return refused, 0, nil
}

func (c *Core) release(grant *session.Grant) (outcome, uint64, *session.Grant) {
	number := c.pending.command
	c.pending = nil
	return passes, number, grant
}

// ask asks people, as soon as nothing is under way at the server any more: then it is known whether a transaction
// is open, and that all before the statement went well.
func (c *Core) ask(s subject, p *pending) (outcome, uint64, *session.Grant) {
	ready, inside := c.quiet()
	if !ready {
		return waits, 0, nil
	}
	if c.segment.skip { // what was before it in its pipeline failed
		c.pending = nil
		return refused, 0, nil
	}
	if err := c.recordCommand(&p.command, s); err != nil {
		return c.reject(s, unrecorded(err))
	}
	path := ""
	if c.path != c.initial {
		path = c.path
	}
	formats := c.formats.unusual()
	if c.segment.reformed {
		formats = "DateStyle, IntervalStyle and TimeZone as its pipeline sets them"
	}
	p.asking = true
	p.inside = inside || c.tx != txIdle
	p.ask = session.Ask{
		Verdict:  s.verdict,
		Target:   c.compiled.destination.TargetOf(s.verdict.Policy),
		Protocol: policy.ProtocolPostgres,
		Text:     c.compiled.asked(s.text, s.values, c.cfg.Database, path, formats),
		Length:   len(s.text),
		Digest:   s.digest,

		Justification: c.compiled.Justify(s.text, c.cfg.Parameters["application_name"]),
	}
	if a := s.verdict.Approval; p.inside && a != nil && a.InTransaction != "Wait" {
		now := *a
		now.WaitSeconds = 0
		p.ask.Verdict.Approval = &now
	}
	c.noted = ""
	c.wait = WaitApproval
	return waits, 0, nil
}

// note tells the agent what it waits for, once.
func (c *Core) note(request string) {
	if request == "" || request == c.noted {
		return
	}
	c.noted = request
	p := c.pending
	v := p.ask.Verdict
	if a := v.Approval; a == nil || a.WaitSeconds > 0 {
		c.toAgent.put(encodeNotice(c.toAgent.own(), approvalNotice(v, request)))
	}
	// That it could not be recorded shows when the decision is.
	_ = c.recordApproval(p, "Pending", nil, "")
}

// conclude takes people's decision.
func (c *Core) conclude(s subject, p *pending) (outcome, uint64, *session.Grant) {
	if !p.decided {
		c.wait = WaitApproval
		return waits, 0, nil
	}
	if !p.settled {
		p.settled = true
		err := p.decision
		switch {
		case err == nil && p.grant == nil:
			err = session.ErrUnavailable
		case err == nil && s.verdict.Action == policy.Deny:
			// The policy has changed while people were asked.
			r := denial(s.verdict)
			p.refusal = &r
		case err == nil && s.digest != p.ask.Digest:
			err = errors.New("what would run is not what was approved")
		}
		if err != nil {
			r := undecided(p.ask.Verdict, err, p.inside)
			p.refusal = &r
		}
		if rerr := c.recordApproval(p, session.Decision(err), p.grant, errorText(err)); rerr != nil && p.refusal == nil {
			r := unrecorded(rerr)
			p.refusal = &r
		}
		return c.flush()
	}
	if p.flushErr != nil && c.recording().OnFailure != policy.Continue {
		return c.reject(s, unrecorded(p.flushErr))
	}
	return c.release(p.grant)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// recordCommand records a command under a new number, unless it has one.
func (c *Core) recordCommand(number *uint64, s subject) error {
	if *number != 0 {
		return nil
	}
	c.commands++
	*number = c.commands
	return c.record(c.commandEvent(*number, &s, c.compiled))
}

// commandEvent is a command as it is recorded.
func (c *Core) commandEvent(number uint64, s *subject, rules *Rules) record.Event {
	c.fill(s)
	v := &s.verdict
	return record.Event{
		Kind: record.KindCommand, Command: number,
		Text: rules.recorded(s.judged, s.text, s.values), TextLength: len(s.text), Digest: s.digest,
		Verdict: string(v.Action), Audited: string(v.Audited), Policy: v.Policy, Generation: v.Generation,
		Rule: v.Rule, Message: v.Message,
	}
}

func (c *Core) recordApproval(p *pending, decision string, grant *session.Grant, text string) error {
	v := &p.ask.Verdict
	e := record.Event{
		Kind: record.KindApproval, Command: p.command, Request: c.noted, Decision: decision, Digest: p.ask.Digest,
		Policy: v.Policy, Generation: v.Generation, Rule: v.Rule, Message: text,
	}
	if grant != nil {
		e.Request, e.Deciders = grant.Request, grant.Deciders
	}
	return c.record(e)
}
