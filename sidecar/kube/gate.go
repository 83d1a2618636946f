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
	x.findContainer()
	if grant, refused = x.carryOut(); refused != nil {
		done()
		return nil, nil, refused
	}
	over := x.whileAllowed()
	return grant, func() { over(); done() }, nil
}

// carryOut does what the verdict says.
func (x *exchange) carryOut() (*session.Grant, *refusal) {
	v, _ := x.rules.DecideAll(x.commands)
	x.verdict = v
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
		Text: x.asked(), Length: x.length + len(x.body), Digest: x.digest, Justification: x.justification(),
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
		refused = x.interrupted()
	case err != nil:
		refused = undecided(v, err)
		x.refusals.note(x, v, refused)
	default:
		// The policy may have changed while people were asked.
		x.rules = x.compiled.of(x.session.Rules())
		if now, _ := x.rules.DecideAll(x.commands); now.Action == policy.Deny {
			refused, grant = denial(now), nil
			err = errors.New(now.Message)
		}
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if rerr := x.recordApproval(ask, request, session.Decision(err), grant, text); rerr != nil && refused == nil {
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

// recordPort records a port of a port-forward that is open.
func (x *exchange) recordPort(v policy.Verdict, text string) error {
	text, length := x.rules.detectors.Text(text, maxRecorded)
	message, _ := x.rules.detectors.Text(v.Message, maxRecorded)
	return x.session.Recorder.Record(record.Event{
		Kind: record.KindCommand, Command: x.connection.commands.next(), Text: text, TextLength: length,
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

// admit sees to access that people have to grant, for each policy in turn; end ends the time that it is granted for.
func (x *exchange) admit() (end func(), refused *refusal) {
	var until time.Time
	for _, demand := range x.rules.Access() {
		if demand.Audited {
			if err := x.auditAccess(demand); err != nil {
				return nil, unrecorded(err)
			}
			continue
		}
		at, refused := x.accessTo(demand)
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
	ctx, cancel := context.WithDeadlineCause(x.r.Context(), until,
		fmt.Errorf("%w (target %s); send the request again to ask again", session.ErrAccessOver, x.rules.Name()))
	x.r = x.r.WithContext(ctx)
	return cancel, nil
}

// auditAccess notes, once for a connection, what a policy in Audit would have asked for.
func (x *exchange) auditAccess(demand policy.AccessDemand) error {
	key := demand.Policy + "\x00" + demand.Target
	if x.audited[key] {
		return nil
	}
	if x.audited == nil {
		x.audited = make(map[string]bool)
	}
	x.audited[key] = true
	text := accessText(demand)
	e := record.Event{
		Kind: record.KindCommand, Text: text, TextLength: len(text), Verdict: string(policy.Allow),
		Policy: demand.Policy, Generation: demand.Generation, Rule: policy.RuleAccess,
	}
	if demand.Approval != nil {
		e.Audited = string(policy.RequireApproval)
	}
	return x.session.Recorder.Record(e)
}

func accessText(demand policy.AccessDemand) string {
	text := "use the API server of target " + demand.Target
	if demand.MaxDurationSeconds > 0 {
		text += fmt.Sprintf(" for %s", time.Duration(demand.MaxDurationSeconds)*time.Second)
	}
	return text
}

// accessTo returns until when the target may be used, zero where that has no end.
func (x *exchange) accessTo(demand policy.AccessDemand) (time.Time, *refusal) {
	limit := time.Duration(demand.MaxDurationSeconds) * time.Second
	if demand.Approval == nil {
		end := x.began.Add(limit)
		if time.Now().After(end) {
			return time.Time{}, &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
				"the time that access to target %s lasts for (%s) is over for this connection; connect again", demand.Target, limit)}
		}
		return end, nil
	}
	grants := &x.connection.access
	if limit > 0 {
		// Every request of kubectl is a connection: what is granted for a time is granted to the pod.
		grants = &x.granted
	}
	until, granted, unlock := grants.stands(x.r.Context(), demand, time.Now())
	if granted {
		return until, nil
	}
	defer unlock()
	text := accessText(demand)
	ask := session.Ask{
		Verdict: policy.Verdict{
			Action: policy.RequireApproval, Policy: demand.Policy, Generation: demand.Generation, Rule: policy.RuleAccess,
			Approval: demand.Approval, Message: "access to target " + demand.Target + " is granted by people",
		},
		Target: demand.Target, Protocol: policy.ProtocolKubernetes,
		Text: text, Length: len(text), Digest: digestOf(text, demand.Policy), Justification: x.justification(),
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
		_ = x.recordApproval(ask, name, session.Decision(err), nil, err.Error())
		if x.r.Context().Err() != nil {
			return time.Time{}, x.interrupted()
		}
		return time.Time{}, undecided(ask.Verdict, err)
	}
	if err := x.recordApproval(ask, name, "Approved", grant, ""); err != nil {
		return time.Time{}, unrecorded(err)
	}
	return grants.keep(demand, lasts(demand, grant, time.Now())), nil
}

// lasts is until when a grant of access holds: no longer than people granted it for, nor than the policy says; zero
// where neither bounds it.
func lasts(demand policy.AccessDemand, grant *session.Grant, now time.Time) time.Time {
	until := grant.NotAfter
	if demand.MaxDurationSeconds > 0 {
		if end := now.Add(time.Duration(demand.MaxDurationSeconds) * time.Second); until.IsZero() || end.Before(until) {
			until = end
		}
	}
	return until
}

// justification is the agent's own words, if any.
func (x *exchange) justification() string {
	return session.Justification(x.r.Header.Get(session.JustificationHeader), x.rules.detectors.Text)
}
