package broker

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

const (
	// lookAgain is how often a stream looks at its pod; a keep-alive that is due then is at most 25 s after the
	// last message, below the 30 s that the protocol promises.
	lookAgain = 10 * time.Second
	keepAlive = 15 * time.Second
	// firstMessage is how long a stream may take to say what it wants.
	firstMessage = 10 * time.Second

	// maxVersion is what some sixty policies with long names come to. A longer one is not kept, so that its sidecar
	// is counted with none.
	maxVersion  = 4 << 10
	maxReason   = 1024
	maxSoftware = 64
)

// Policies implements the control stream's first call.
func (b *Broker) Policies(stream grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) error {
	ctx := stream.Context()
	c := callerOf(ctx)
	release, err := c.policyStreams.take(maxPolicyStreams, "policy streams")
	if err != nil {
		return err
	}
	defer release()
	changed, stop := b.Sets.Watch(c.Namespace)
	defer stop()
	hangUp := b.Presence.Connect(c.Name(), c.UID)
	defer hangUp()
	heard := b.listen(ctx, c, stream)

	sent, last := "", time.Time{}
	tick := b.Clock.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		bound, err := b.bound(ctx, c)
		if err != nil {
			return err
		}
		now := b.Clock.Now()
		switch {
		case bound.Set.Version != sent:
			if err := stream.Send(&controlpb.PoliciesResponse{SetJson: bound.JSON}); err != nil {
				return err
			}
			sent, last = bound.Set.Version, now
		case now.Sub(last) >= keepAlive:
			if err := stream.Send(&controlpb.PoliciesResponse{}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.closing:
			return status.Error(codes.Unavailable, "the operator restarts; connect again")
		case err := <-heard:
			return err
		case <-tick.C():
		case <-changed:
			if err := b.pause(ctx, debounce); err != nil {
				return err
			}
		}
	}
}

// bound looks at the pod again and returns what applies to it.
func (b *Broker) bound(ctx context.Context, c *caller) (*Bound, error) {
	pod, err := b.live(ctx, c.Identity)
	if err != nil {
		return nil, err
	}
	bound, err := b.Sets.For(ctx, pod)
	if err != nil {
		b.Log.Error(err, "making a pod's policy set", "pod", c.Name())
		return nil, status.Error(codes.Unavailable, "the policies could not be read; try again")
	}
	return bound, nil
}

// listen reads what the sidecar holds until the stream ends; the channel says how.
func (b *Broker) listen(ctx context.Context, c *caller, stream grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) <-chan error {
	ended := make(chan error, 2) // either goroutine may be the last to speak
	first := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			m, err := stream.Recv()
			if n == 0 {
				close(first)
			}
			switch {
			case errors.Is(err, io.EOF):
				ended <- nil
				return
			case err != nil:
				ended <- err
				return
			case !c.messages.Allow():
				ended <- status.Error(codes.ResourceExhausted, "too many messages on the policies stream")
				return
			}
			version := m.GetHeldVersion()
			if len(version) > maxVersion {
				version = ""
			}
			b.Presence.Held(c.UID, version, naming.Escape(m.GetError(), maxReason), naming.Escape(m.GetSidecarVersion(), maxSoftware))
			b.Presence.Roles(c.UID, rolesOf(m.GetRoles()))
		}
	}()
	go func() {
		timer := b.Clock.NewTimer(firstMessage)
		defer timer.Stop()
		select {
		case <-first:
		case <-ctx.Done():
		case <-timer.C():
			select {
			case ended <- status.Error(codes.DeadlineExceeded, "the sidecar did not say which policies it holds"):
			default:
			}
		}
	}()
	return ended
}

func (b *Broker) pause(ctx context.Context, d time.Duration) error {
	timer := b.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C():
		return nil
	}
}
