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

// approveTimeout bounds an ask that does not wait.
const approveTimeout = 10 * time.Second

var _ session.Approvals = (*Client)(nil)

// ask is one Await under way.
type ask struct {
	request *controlpb.ApproveRequest
	notify  func(string)
	// filed is the ApprovalRequest's name once it has one.
	filed string
}

// Await asks people and waits for them, over broken streams too: an identical request that is pending is found
// again. Where the broker cannot be reached at all it gives up at once with ErrUnavailable.
func (c *Client) Await(ctx context.Context, a session.Ask, notify func(request string)) (*session.Grant, error) {
	var wait time.Duration
	if a.Verdict.Approval != nil {
		wait = time.Duration(a.Verdict.Approval.WaitSeconds) * time.Second
	}
	w := &ask{notify: notify, request: &controlpb.ApproveRequest{
		Policy: a.Verdict.Policy, Generation: a.Verdict.Generation, Rule: a.Verdict.Rule,
		Target: a.Target, Protocol: string(a.Protocol), Text: a.Text, Length: int64(a.Length), Digest: a.Digest,
		Justification: a.Justification, Wait: wait > 0,
	}}
	limit := wait
	if limit <= 0 {
		limit = approveTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var p pause
	for {
		grant, err := c.approve(bounded, w, p.reset)
		switch {
		case err == nil:
			return grant, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case decided(err):
			return nil, err
		case w.filed == "":
			return nil, fmt.Errorf("%w: the operator cannot be reached (%s); try again later", session.ErrUnavailable, words(err))
		case bounded.Err() != nil || !p.wait(bounded):
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, w.pending()
		}
	}
}

func decided(err error) bool {
	for _, e := range []error{session.ErrDenied, session.ErrExpired, session.ErrPending, session.ErrUnavailable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (w *ask) pending() error {
	return fmt.Errorf("%w: request %s", session.ErrPending, w.filed)
}

// approve is one stream. An error that is not a decision means that it broke.
func (c *Client) approve(ctx context.Context, w *ask, progress func()) (*session.Grant, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.broker.Approve(ctx, w.request)
	for err == nil {
		var r *controlpb.ApproveResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		progress()
		if name := r.GetRequest(); name != "" && w.filed == "" {
			w.filed = name
			if w.notify != nil {
				w.notify(name)
			}
		}
		switch r.GetState() {
		case controlpb.ApproveResponse_STATE_APPROVED:
			return &session.Grant{Request: r.GetRequest(), Deciders: r.GetDeciders(), NotAfter: time.UnixMilli(r.GetNotAfterUnixMs())}, nil
		case controlpb.ApproveResponse_STATE_DENIED:
			return nil, ending(session.ErrDenied, r)
		case controlpb.ApproveResponse_STATE_EXPIRED:
			return nil, ending(session.ErrExpired, r)
		case controlpb.ApproveResponse_STATE_PENDING:
			if !w.request.GetWait() {
				return nil, w.pending()
			}
		default:
			return nil, fmt.Errorf("%w: the operator answered with a state that this sidecar does not know", session.ErrUnavailable)
		}
	}
	if !errors.Is(err, io.EOF) && !unreachable(err) {
		return nil, fmt.Errorf("%w: %s", session.ErrUnavailable, words(err))
	}
	return nil, err
}

// ending puts request, deciders and reason behind the decision.
func ending(decision error, r *controlpb.ApproveResponse) error {
	text := "request " + r.GetRequest()
	for i, d := range r.GetDeciders() {
		if i == 0 {
			text += " by " + d
		} else {
			text += ", " + d
		}
	}
	if m := r.GetMessage(); m != "" {
		text += ": " + m
	}
	return fmt.Errorf("%w: %s", decision, text)
}
