package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

const (
	// maxRecordedText bounds a command in a recording, maxAskedText in a request for approval; the whole length and the
	// digest are always shown with it.
	maxRecordedText = 16 << 10
	maxAskedText    = 16 << 10
)

// subject is what stands before the gate: requests that are one thing for the agent, so that the strictest verdict
// counts.
type subject struct {
	commands []policy.Command
	// text is what people read, digest (hex) what will run.
	text, digest string
	readOnly     bool
	// justification is the agent's own words, if any.
	justification string
	// say writes to the agent; nil where it has no ear.
	say func(string)
	// approved is told of each rule that people approved it by; may be nil.
	approved func(policy.Verdict)
	// waits is told before anything is waited for; may be nil.
	waits func()
	// standing says which rules' approval it has already; may be nil.
	standing func(policy.Verdict) bool
}

func (s *subject) mayWait() {
	if s.waits != nil {
		s.waits()
	}
}

// digest is the SHA-256 over fields that no other list of fields shares.
func digest(fields ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(size[:], uint64(len(f)))
		h.Write(size[:])
		h.Write([]byte(f))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// gate decides and carries the verdict out: it records, waits for the record to be safe and for people's approval. It
// returns what was let through; an error is a *refusal, and nothing of the subject may run, but what was recorded has a
// number all the same.
func (c *connection) gate(ctx context.Context, s subject) (passage, error) {
	d, err := c.destination()
	if err != nil {
		return passage{}, err
	}
	verdict, approvals := decide(d, s.commands)
	number := c.commands.Add(1)
	p := passage{number, d, s.commands}
	text, length := c.masking().Text(s.text, maxRecordedText)
	rerr := c.record(record.Event{
		Kind: record.KindCommand, Command: number, Text: text, TextLength: length, Digest: s.digest,
		Verdict: string(verdict.Action), Audited: string(verdict.Audited), Policy: verdict.Policy, Generation: verdict.Generation,
		Rule: verdict.Rule, Message: verdict.Message,
	})
	switch verdict.Action {
	case policy.Allow:
		if rerr == nil && d.Recording().Durability == policy.Acknowledged && !s.readOnly {
			s.mayWait()
			rerr = c.flush(ctx, d)
		}
		if rerr != nil {
			return p, unrecorded(rerr)
		}
		return p, nil
	case policy.RequireApproval:
		if rerr != nil {
			return p, unrecorded(rerr)
		}
		for _, v := range approvals {
			if s.standing != nil && s.standing(v) {
				continue
			}
			s.mayWait()
			if err := c.ask(ctx, d, number, s, v); err != nil {
				return p, err
			}
			if s.approved != nil {
				s.approved(v)
			}
		}
		return p, nil
	default:
		// A refusal stands whether or not it could be recorded.
		_ = c.flush(ctx, d)
		return p, denial(verdict)
	}
}

// decide is the strictest verdict, and those of all rules that ask for an approval where that is one. What asks for
// nothing cannot be judged.
func decide(d *policy.Destination, commands []policy.Command) (strictest policy.Verdict, approvals []policy.Verdict) {
	if len(commands) == 0 {
		commands = []policy.Command{{Protocol: policy.ProtocolSSH, Unrecognised: "it runs nothing"}}
	}
	strictest, _ = d.DecideAll(commands)
	if strictest.Action != policy.RequireApproval {
		return strictest, nil
	}
	// Each rule may ask other people.
	for i := range commands {
		v := d.Decide(commands[i])
		if v.Action == policy.RequireApproval && !slices.ContainsFunc(approvals, func(o policy.Verdict) bool { return o.Policy == v.Policy && o.Rule == v.Rule }) {
			approvals = append(approvals, v)
		}
	}
	return strictest, approvals
}

// ask asks people, and again the rules once they have decided.
func (c *connection) ask(ctx context.Context, d *policy.Destination, number uint64, s subject, verdict policy.Verdict) error {
	text, length := c.masking().Text(s.text, maxAskedText)
	ask := session.Ask{
		Verdict: verdict, Target: d.Name(), Protocol: policy.ProtocolSSH, Text: text, Length: length, Digest: s.digest,
		Justification: s.justification,
	}
	if a := verdict.Approval; a != nil && ctx.Value(atOnceKey{}) != nil {
		now := *a
		now.WaitSeconds = 0
		ask.Verdict.Approval = &now
	}
	if ref, ok := targetOf(d, verdict.Policy); ok {
		ask.Target = ref
	}
	event := record.Event{
		Kind: record.KindApproval, Command: number, Digest: s.digest, Policy: verdict.Policy, Generation: verdict.Generation, Rule: verdict.Rule,
	}
	grant, err := c.session.Approvals.Await(ctx, ask, func(request string) {
		event.Request = request
		pending := event
		pending.Decision = "Pending"
		// That it could not be recorded shows when the decision is.
		_ = c.record(pending)
		if s.say != nil && verdict.Approval != nil && verdict.Approval.WaitSeconds > 0 {
			s.say(waitingText(verdict, request))
		}
	})
	switch {
	case err != nil && ctx.Err() != nil:
		err = errCancelled
	case err == nil && grant == nil:
		err = session.ErrUnavailable
	}
	if err == nil {
		event.Request, event.Deciders = grant.Request, grant.Deciders
	}
	var answer error
	if err != nil {
		answer = undecided(verdict, err)
	} else if now, derr := c.destination(); derr != nil {
		answer = derr
	} else if v, _ := decide(now, s.commands); v.Action == policy.Deny {
		answer = denial(v) // the policy has changed while people were asked
	}
	event.Decision = session.Decision(err)
	if err != nil {
		event.Message = err.Error()
	}
	rerr := c.record(event)
	if rerr == nil {
		rerr = c.flush(context.WithoutCancel(ctx), d)
	}
	if answer == nil && rerr != nil {
		answer = unrecorded(rerr)
	}
	return answer
}

type atOnceKey struct{}

// atOnce marks what cannot be held while people think.
func atOnce(ctx context.Context) context.Context { return context.WithValue(ctx, atOnceKey{}, true) }

// targetOf is the name of a policy's own target for the destination, which may have several policies.
func targetOf(d *policy.Destination, name string) (string, bool) {
	for _, ref := range d.Targets() {
		if ref.Policy == name {
			return ref.Target.Name, true
		}
	}
	return "", false
}

// flush waits until what was recorded is safe. An error counts only where the policy blocks on failure.
func (c *connection) flush(ctx context.Context, d *policy.Destination) error {
	ctx, cancel := context.WithTimeout(ctx, c.protocol.opts.FlushTimeout)
	defer cancel()
	if err := c.session.Recorder.Flush(ctx); err != nil && d.Recording().OnFailure != policy.Continue {
		return err
	}
	return nil
}
