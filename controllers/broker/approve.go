package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

const (
	// lookEvery is how often a waiting call looks at its request when no event wakes it: the watch may be behind
	// or broken, and policies change meanwhile.
	lookEvery = 5 * time.Second
	// maxRounds bounds how often one call finds that another has used the grant it waited for.
	maxRounds = 10
)

// Approve implements the control stream: it files a request or finds the identical one, and says what becomes of it.
func (b *Broker) Approve(req *controlpb.ApproveRequest, stream grpc.ServerStreamingServer[controlpb.ApproveResponse]) error {
	ctx := stream.Context()
	c := callerOf(ctx)
	release, err := c.approving.take(maxApproving, "commands waiting for approval")
	if err != nil {
		return err
	}
	defer release()
	if !c.asks.Allow() {
		return status.Error(codes.ResourceExhausted, "too many requests for approval; try again in a second")
	}
	told := ""
	for range maxRounds {
		a, err := b.ask(ctx, c, req)
		if err != nil {
			return err
		}
		key, err := b.requests.find(ctx, c, a)
		if err != nil {
			return err
		}
		again, err := b.await(ctx, c, a, key, req, stream, &told)
		if err != nil || !again {
			return err
		}
	}
	return status.Error(codes.ResourceExhausted, "this command's grants are used by others of this pod; try again")
}

// await follows one request until it is decided. again means that its grant went to an identical command, so that
// this one needs a request of its own.
func (b *Broker) await(ctx context.Context, c *caller, a *ask, key types.NamespacedName, req *controlpb.ApproveRequest, stream grpc.ServerStreamingServer[controlpb.ApproveResponse], told *string) (again bool, err error) {
	changed, stop := b.requests.watch(key)
	defer stop()
	tick := b.Clock.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		ar, err := b.requests.get(ctx, key)
		if err != nil {
			return false, err
		}
		outcome := decision.Evaluate(ar, b.DecisionKey, b.Clock.Now())
		switch outcome.Phase {
		case v1alpha1.PhaseUsed:
			return true, nil
		case v1alpha1.PhaseDenied:
			return false, stream.Send(reply(controlpb.ApproveResponse_STATE_DENIED, key.Name, outcome))
		case v1alpha1.PhaseExpired:
			return false, stream.Send(reply(controlpb.ApproveResponse_STATE_EXPIRED, key.Name, outcome))
		case v1alpha1.PhaseApproved:
			used, outcome, err := b.use(ctx, c, a, ar, req)
			if err != nil {
				return false, err
			}
			if used {
				return false, stream.Send(b.granted(a, key.Name, outcome))
			}
			if outcome.Phase == v1alpha1.PhaseExpired {
				return false, stream.Send(reply(controlpb.ApproveResponse_STATE_EXPIRED, key.Name, outcome))
			}
			continue // it changed while it was being used; look again
		}
		if *told != key.Name || !req.GetWait() {
			if err := stream.Send(reply(controlpb.ApproveResponse_STATE_PENDING, key.Name, outcome)); err != nil {
				return false, err
			}
			*told = key.Name
		}
		if !req.GetWait() {
			return false, nil
		}
		expiry := b.Clock.NewTimer(max(ar.Spec.ExpiresAt.Sub(b.Clock.Now()), 0) + time.Millisecond)
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-b.closing:
			err = status.Error(codes.Unavailable, "the operator restarts; ask again")
		case <-changed:
		case <-tick.C():
		case <-expiry.C():
		}
		expiry.Stop()
		if err != nil {
			return false, err
		}
	}
}

// use marks the grant used before anything is released by it. The write is refused unless the request still is as ar
// was read, so that neither a stale cache nor another replica lets it be used twice; used is false where the request
// has changed since, and then the next look is at what is there now. A grant that ends while it is being marked releases
// nothing, though its use is counted: outcome is Expired then.
func (b *Broker) use(ctx context.Context, c *caller, a *ask, ar *v1alpha1.ApprovalRequest, req *controlpb.ApproveRequest) (used bool, outcome decision.Outcome, err error) {
	key, seen := client.ObjectKeyFromObject(ar), b.Clock.Now()
	// The pod and the policy as they are now, not as they were when people began to think.
	if c.pod, err = b.live(ctx, c.Identity); err != nil {
		return false, outcome, err
	}
	now, err := b.ask(ctx, c, req)
	if err != nil {
		return false, outcome, err
	}
	if now.key != a.key {
		return false, outcome, status.Error(codes.FailedPrecondition, "what the policy asks for has changed since the request was filed; try again")
	}
	if outcome = decision.Evaluate(ar, b.DecisionKey, b.Clock.Now()); outcome.Phase != v1alpha1.PhaseApproved {
		return false, outcome, nil // it has ended meanwhile
	}
	checked := b.Clock.Now()
	switch err := b.requests.use(ctx, ar, outcome, c.Name()); {
	case errors.Is(err, errChanged):
		there, err := b.requests.live(ctx, key)
		if err == nil {
			b.requests.remember(there)
		}
		return false, outcome, err
	case err != nil:
		b.Log.Error(err, "marking a grant used", "request", key)
		return false, outcome, status.Error(codes.Unavailable, "the grant could not be marked used; try again")
	}
	if now := b.Clock.Now(); !now.Before(outcome.GrantExpiresAt) {
		outcome.Phase = v1alpha1.PhaseExpired
		outcome.Message = fmt.Sprintf("approved by %s, but the grant ended at %s, before the command could begin",
			strings.Join(outcome.Deciders, ", "), outcome.GrantExpiresAt.UTC().Format(time.RFC3339))
		return false, outcome, nil
	}
	b.Log.Info("released an approved command", "request", key, "pod", c.Name(), "deciders", outcome.Deciders,
		"checking", checked.Sub(seen).String(), "writing", b.Clock.Since(checked).String())
	return true, outcome, nil
}

func reply(state controlpb.ApproveResponse_State, request string, outcome decision.Outcome) *controlpb.ApproveResponse {
	out := &controlpb.ApproveResponse{State: state, Request: request, Message: outcome.Message, Deciders: outcome.Deciders}
	if !outcome.GrantExpiresAt.IsZero() {
		out.NotAfterUnixMs = outcome.GrantExpiresAt.UnixMilli()
	}
	return out
}

func unavailable(what string, err error) error {
	return status.Error(codes.Unavailable, fmt.Sprintf("%s: %v; try again", what, err))
}
