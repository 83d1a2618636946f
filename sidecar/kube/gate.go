package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// refusalFlush bounds how long a refused agent waits for its answer while the operator is away.
const refusalFlush = 2 * time.Second

// gate carries the verdict on the request out: it records, waits for the records to be safe and for people. The grant is
// nil where none was needed. end is to be called when the exchange is over.
func (x *exchange) gate() (grant *session.Grant, end func(), refused *refusal) {
	done, refused := x.admit()
	if refused != nil {
		return nil, nil, refused
	}
	grant, refused = x.carryOut()
	if refused != nil {
		done()
	}
	return grant, done, refused
}

// carryOut does what the verdict says.
func (x *exchange) carryOut() (*session.Grant, *refusal) {
	v, _ := x.rules.DecideAll(x.commands)
	if v.Action != policy.Deny {
		if refused := x.checkWrite(); refused != nil {
			v.Action, v.Audited, v.Rule, v.Message = policy.Deny, "", policy.RuleMasking, refused.message
			_ = x.recordCommand(v)
			_ = x.flush(true)
			return nil, refused
		}
	}
	switch v.Action {
	case policy.Allow:
		return nil, x.allow(v)
	case policy.RequireApproval:
		return x.ask(v)
	}
	// A refusal stands whether or not it could be recorded.
	_ = x.recordCommand(v)
	_ = x.flush(true)
	return nil, denial(v)
}

// allow lets a request pass once its record is as safe as the policy says.
func (x *exchange) allow(v policy.Verdict) *refusal {
	if err := x.recordCommand(v); err != nil {
		return unrecorded(err)
	}
	if x.rules.Recording().Durability != policy.Acknowledged || x.request.Kubernetes.ReadOnly {
		return nil
	}
	if err := x.flush(false); err != nil && x.rules.Recording().OnFailure != policy.Continue {
		return unrecorded(err)
	}
	return nil
}

// ask asks people about the request, whose body is kept: what they approve is what is sent.
func (x *exchange) ask(v policy.Verdict) (*session.Grant, *refusal) {
	if refused := x.readBody(); refused != nil {
		v.Message = refused.message
		_ = x.recordCommand(v)
		return nil, refused
	}
	if before := x.refusals.recent(x, v); before != nil {
		_ = x.recordCommand(v)
		return nil, before
	}
	if err := x.recordCommand(v); err != nil {
		return nil, unrecorded(err)
	}
	ask := session.Ask{
		Verdict: v, Target: x.rules.Name(), Protocol: policy.ProtocolKubernetes,
		Text: x.asked(), Length: x.length + len(x.body), Digest: x.digest,
	}
	request := ""
	grant, err := x.session.Approvals.Await(x.r.Context(), ask, func(name string) {
		request = name
		// That it could not be recorded shows when the decision is.
		_ = x.recordApproval(ask, name, "Pending", nil, "")
	})
	if err == nil && grant == nil {
		err = session.ErrUnavailable
	}
	var refused *refusal
	switch {
	case err != nil && x.r.Context().Err() != nil:
		refused = errGone
	case err != nil:
		refused = undecided(v, err)
		x.refusals.note(x, v, refused)
	default:
		// The policy may have changed while people were asked.
		x.rules = compileRules(x.session.Rules())
		if now, _ := x.rules.DecideAll(x.commands); now.Action == policy.Deny {
			refused, grant = denial(now), nil
			err = errors.New(now.Message)
		}
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if rerr := x.recordApproval(ask, request, decision(err), grant, text); rerr != nil && refused == nil {
		refused = unrecorded(rerr)
	}
	if ferr := x.flush(refused != nil); ferr != nil && refused == nil && x.rules.Recording().OnFailure != policy.Continue {
		refused = unrecorded(ferr)
	}
	if refused != nil {
		return nil, refused
	}
	return grant, nil
}

func (x *exchange) recordCommand(v policy.Verdict) error {
	message, _ := x.rules.detectors.Text(v.Message, maxRecorded)
	return x.session.Recorder.Record(record.Event{
		Kind: record.KindCommand, Command: x.number, Text: x.text, TextLength: x.length, Digest: x.digest,
		Verdict: string(v.Action), Audited: string(v.Audited), Policy: v.Policy, Generation: v.Generation, Rule: v.Rule,
		Message: message,
	})
}

func (x *exchange) recordApproval(ask session.Ask, request, decision string, grant *session.Grant, text string) error {
	v := &ask.Verdict
	e := record.Event{
		Kind: record.KindApproval, Command: x.number, Request: request, Decision: decision, Digest: ask.Digest,
		Policy: v.Policy, Generation: v.Generation, Rule: v.Rule, Message: text,
	}
	if grant != nil {
		e.Request, e.Deciders = grant.Request, grant.Deciders
	}
	return x.session.Recorder.Record(e)
}

// decision names how an approval ended, as a recording says it.
func decision(err error) string {
	switch {
	case err == nil:
		return "Approved"
	case errors.Is(err, session.ErrDenied):
		return "Denied"
	case errors.Is(err, session.ErrExpired):
		return "Expired"
	case errors.Is(err, session.ErrUnavailable):
		return "Unavailable"
	}
	return "Pending" // people may still decide, though nobody waits any more
}

// admit sees to access that people have to grant, for each target in turn; end ends the time that it is granted for.
func (x *exchange) admit() (end func(), refused *refusal) {
	var until time.Time
	for _, ref := range x.rules.Targets() {
		if ref.Target.Access == nil {
			continue
		}
		at, refused := x.accessTo(ref)
		if refused != nil {
			return nil, refused
		}
		if !at.IsZero() && (until.IsZero() || at.Before(until)) {
			until = at
		}
	}
	if until.IsZero() {
		return func() {}, nil
	}
	ctx, cancel := context.WithDeadline(x.r.Context(), until)
	x.r = x.r.WithContext(ctx)
	return cancel, nil
}

// ruleAccess is the rule's name in the approval of access itself.
const ruleAccess = "access"

// accessTo returns until when the target may be used, zero where that has no end.
func (x *exchange) accessTo(ref policy.Ref) (time.Time, *refusal) {
	approval := ref.Target.Access.Approval
	limit := time.Duration(ref.Target.Access.MaxDurationSeconds) * time.Second
	grants := &x.connection.access
	if limit > 0 && approval != nil {
		// Every request of kubectl is a connection: what is granted for a time is granted to the pod.
		grants = &x.granted
	}
	if approval == nil {
		if limit == 0 {
			return time.Time{}, nil
		}
		end := x.began.Add(limit)
		if time.Now().After(end) {
			return time.Time{}, &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
				"the time that access to target %s lasts for (%s) is over for this connection; connect again", ref.Target.Name, limit)}
		}
		return end, nil
	}
	until, granted, unlock := grants.stands(x.r.Context(), ref, time.Now())
	if granted {
		return until, nil
	}
	defer unlock()
	text := fmt.Sprintf("use the API server of target %s", ref.Target.Name)
	if limit > 0 {
		text += fmt.Sprintf(" for %s", limit)
	}
	ask := session.Ask{
		Verdict: policy.Verdict{Action: policy.RequireApproval, Policy: ref.Policy, Rule: ruleAccess, Approval: approval,
			Message: "access to target " + ref.Target.Name + " is granted by people"},
		Target: ref.Target.Name, Protocol: policy.ProtocolKubernetes,
		Text: text, Length: len(text), Digest: digestOf(text, ref.Policy),
	}
	name := ""
	grant, err := x.session.Approvals.Await(x.r.Context(), ask, func(request string) {
		name = request
		_ = x.recordApproval(ask, request, "Pending", nil, "")
	})
	if err == nil && grant == nil {
		err = session.ErrUnavailable
	}
	if err != nil {
		_ = x.recordApproval(ask, name, decision(err), nil, err.Error())
		if x.r.Context().Err() != nil {
			return time.Time{}, errGone
		}
		return time.Time{}, undecided(ask.Verdict, err)
	}
	if err := x.recordApproval(ask, name, "Approved", grant, ""); err != nil {
		return time.Time{}, unrecorded(err)
	}
	if limit == 0 {
		return grants.keep(ref, time.Time{}), nil
	}
	return grants.keep(ref, time.Now().Add(limit)), nil
}
