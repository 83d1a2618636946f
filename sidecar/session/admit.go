package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// ErrAccessOver is the cause of a session's context where the time is over that the session was granted for. What
// wraps it says in words for the agent which grant that was.
var ErrAccessOver = errors.New("the time that access was granted for is over")

// farewell is how long a protocol has to tell the agent that its time is over, before the connection is closed.
const farewell = 2 * time.Second

// Purpose is what a session is for.
type Purpose struct {
	// Text describes it to people, as in `connect to database "app" of target billing`: masked and bounded.
	Text string
	// Justification is the agent's own words, if any.
	Justification string
}

// Admit asks people for the session itself where a policy says so (target.access), and bounds it by access.maxDuration
// and by what was granted. A protocol calls it once for each session, before it leases a credential or connects
// upstream; without any demand it returns at once. asked is called for each request as soon as it has a name, to tell
// the agent what it waits for; it may be nil.
//
// The context returned is the session's: it ends with a cause that wraps ErrAccessOver when the time is over, and the
// agent's connection is closed soon after in any case. The caller calls end when the session is over. An error wraps
// one of the Approvals' and reads for an agent.
func (s *Session) Admit(ctx context.Context, p Purpose, asked func(ask Ask, request string)) (session context.Context, end context.CancelFunc, err error) {
	d := s.Rules()
	if d == nil {
		return nil, nil, errors.New("no policy has a target for this connection")
	}
	var over time.Time // zero: without end
	why := ""
	bound := func(at time.Time, reason string) {
		if over.IsZero() || at.Before(over) {
			over, why = at, reason
		}
	}
	for _, demand := range d.Access() {
		if demand.Audited {
			if err := s.Recorder.Record(s.audited(p, demand)); err != nil {
				return nil, nil, fmt.Errorf("recording the session: %w", err)
			}
			continue
		}
		reason := fmt.Sprintf("policy %s, access.maxDuration of target %s", demand.Policy, demand.Target)
		if demand.Approval != nil {
			grant, err := s.access(ctx, p, d.Protocol(), demand, asked)
			if err != nil {
				return nil, nil, err
			}
			if !grant.NotAfter.IsZero() {
				bound(grant.NotAfter, fmt.Sprintf("policy %s, target %s, approval request %s", demand.Policy, demand.Target, grant.Request))
			}
		}
		if demand.MaxDurationSeconds > 0 {
			bound(time.Now().Add(time.Duration(demand.MaxDurationSeconds)*time.Second), reason)
		}
	}
	if over.IsZero() {
		session, end = context.WithCancel(ctx)
		return session, end, nil
	}
	cause := fmt.Errorf("%w (%s); connect again to ask again", ErrAccessOver, why)
	session, end = context.WithDeadlineCause(ctx, over, cause)
	context.AfterFunc(session, func() {
		if errors.Is(context.Cause(session), ErrAccessOver) {
			time.AfterFunc(farewell, func() { s.Agent.Close() })
		}
	})
	return session, end, nil
}

// access asks people for one policy's demand and records what comes of it.
func (s *Session) access(ctx context.Context, p Purpose, protocol policy.Protocol, demand policy.AccessDemand, asked func(Ask, string)) (*Grant, error) {
	sum := sha256.Sum256([]byte("access\x00" + demand.Policy + "\x00" + demand.Target + "\x00" + p.Text))
	ask := Ask{
		Verdict: policy.Verdict{
			Action: policy.RequireApproval, Policy: demand.Policy, Generation: demand.Generation, Rule: policy.RuleAccess,
			Approval: demand.Approval, Message: "sessions to target " + demand.Target + " are granted by people",
		},
		Target: demand.Target, Protocol: protocol,
		Text: p.Text, Length: len(p.Text), Digest: hex.EncodeToString(sum[:]), Justification: p.Justification,
	}
	event := record.Event{
		Kind: record.KindApproval, Text: ask.Text, TextLength: ask.Length, Digest: ask.Digest,
		Policy: demand.Policy, Generation: demand.Generation, Rule: policy.RuleAccess,
	}
	grant, err := s.Approvals.Await(ctx, ask, func(request string) {
		event.Request = request
		pending := event
		pending.Decision = "Pending"
		// That it could not be recorded shows when the decision is.
		_ = s.Recorder.Record(pending)
		if asked != nil {
			asked(ask, request)
		}
	})
	if err == nil && grant == nil {
		err = ErrUnavailable
	}
	event.Decision = Decision(err)
	if err != nil {
		event.Message = err.Error()
		_ = s.Recorder.Record(event) // the session is refused in any case
		return nil, err
	}
	event.Request, event.Deciders = grant.Request, grant.Deciders
	if err := s.Recorder.Record(event); err != nil {
		return nil, fmt.Errorf("recording the grant of access: %w", err)
	}
	return grant, nil
}

// audited notes what a policy in Audit would have asked for.
func (s *Session) audited(p Purpose, demand policy.AccessDemand) record.Event {
	event := record.Event{
		Kind: record.KindCommand, Text: p.Text, TextLength: len(p.Text), Verdict: string(policy.Allow),
		Policy: demand.Policy, Generation: demand.Generation, Rule: policy.RuleAccess,
	}
	if demand.Approval != nil {
		event.Audited = string(policy.RequireApproval)
	} else {
		event.Message = fmt.Sprintf("the session would end after %ds", demand.MaxDurationSeconds)
	}
	return event
}

// Decision names how an approval ended, as a recording says it.
func Decision(err error) string {
	switch {
	case err == nil:
		return "Approved"
	case errors.Is(err, ErrDenied):
		return "Denied"
	case errors.Is(err, ErrExpired):
		return "Expired"
	case errors.Is(err, ErrUnavailable):
		return "Unavailable"
	}
	return "Pending" // people may still decide, though nobody waits any more
}
