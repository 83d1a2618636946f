package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// expiryGrace is added to a wait that is as long as the request stands, so that the agent reads that it expired and
// not that it still waits.
const expiryGrace = 5 * time.Second

var _ session.Approvals = (*Client)(nil)

// Await implements session.Approvals. An operator that goes away while people think is asked again when it is
// back: identical requests are one object.
func (c *Client) Await(ctx context.Context, ask session.Ask, notify func(request string)) (*session.Grant, error) {
	if ask.Verdict.Approval == nil {
		return nil, fmt.Errorf("%w: the rule asks for no approval", session.ErrUnavailable)
	}
	hold := time.Duration(ask.Verdict.Approval.WaitSeconds) * time.Second
	wait := hold
	if ask.Verdict.Approval.WaitSeconds >= ask.Verdict.Approval.TimeoutSeconds {
		wait += expiryGrace
	}
	limit, cancel := context.WithTimeout(ctx, max(wait, c.options.AskTimeout))
	defer cancel()
	w := waiting{client: c, notify: notify, request: &controlpb.ApproveRequest{
		Policy: ask.Verdict.Policy, Generation: ask.Verdict.Generation, Rule: ask.Verdict.Rule,
		Target: ask.Target, Protocol: string(ask.Protocol),
		Text: ask.Text, Length: int64(ask.Length), Digest: ask.Digest, Justification: ask.Justification,
		Wait: hold > 0,
	}}
	// Until the request has a name nobody can decide it, so that there is nothing to wait for.
	unfiled := time.AfterFunc(c.options.AskTimeout, func() {
		if w.filed() == "" {
			cancel()
		}
	})
	defer unfiled.Stop()

	retry := pause{least: 250 * time.Millisecond, most: 5 * time.Second}
	for {
		grant, err := w.once(limit)
		switch {
		case err == nil:
			return grant, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case limit.Err() != nil && w.filed() != "":
			return nil, fmt.Errorf("approval request %s: %w: not decided within %s", w.filed(), session.ErrPending, hold)
		case limit.Err() != nil:
			return nil, fmt.Errorf("%w: the operator cannot be reached", session.ErrUnavailable)
		case !errors.Is(err, errAway):
			return nil, err
		}
		if err := retry.wait(limit); err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// errAway is a stream that ended before a decision.
var errAway = errors.New("the operator went away")

// once asks and follows one stream to a decision.
func (w *waiting) once(ctx context.Context) (*session.Grant, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.broker.Approve(ctx, w.request)
	if err != nil {
		return nil, refusal(err)
	}
	for {
		answer, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && !w.request.GetWait() && w.filed() != "":
			return nil, fmt.Errorf("approval request %s: %w", w.filed(), session.ErrPending)
		case errors.Is(err, io.EOF):
			return nil, errAway
		case err != nil:
			return nil, refusal(err)
		}
		w.named(answer.GetRequest())
		switch answer.GetState() {
		case controlpb.ApproveResponse_STATE_PENDING:
			if !w.request.GetWait() {
				return nil, fmt.Errorf("approval request %s: %w", w.filed(), session.ErrPending)
			}
		case controlpb.ApproveResponse_STATE_APPROVED:
			grant := &session.Grant{Request: answer.GetRequest(), Deciders: answer.GetDeciders()}
			if end := answer.GetNotAfterUnixMs(); end != 0 {
				grant.NotAfter = time.UnixMilli(end)
			}
			return grant, nil
		case controlpb.ApproveResponse_STATE_DENIED:
			return nil, fmt.Errorf("approval request %s: %w: %s", w.filed(), session.ErrDenied, answer.GetMessage())
		case controlpb.ApproveResponse_STATE_EXPIRED:
			return nil, fmt.Errorf("approval request %s: %w: %s", w.filed(), session.ErrExpired, answer.GetMessage())
		default:
			return nil, fmt.Errorf("%w: the operator answered with a state that this sidecar does not know", session.ErrUnavailable)
		}
	}
}

// refusal tells an operator that is away from one that says no.
func refusal(err error) error {
	if away(err) {
		return fmt.Errorf("%w: %s", errAway, words(err))
	}
	return fmt.Errorf("%w: %s", session.ErrUnavailable, words(err))
}
