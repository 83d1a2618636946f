package control

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

// silence is how long the policies stream may say nothing: the broker sends a keep-alive every 30 s at the latest,
// so that two and a half of them are missing.
const silence = 75 * time.Second

// Follow keeps p up to date until ctx ends, over every loss of the operator. It returns ctx's error.
func (c *Client) Follow(ctx context.Context, p *Policies) error {
	retry := pause{least: 500 * time.Millisecond, most: 20 * time.Second}
	connected := true // so that the first loss is logged
	for {
		err := c.follow(ctx, p, func() {
			retry.reset()
			if !connected {
				c.options.Log.Info("The operator is there again")
			}
			connected = true
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if connected {
			c.options.Log.Info("The operator cannot be reached; the last policies stand", "error", words(err), "code", status.Code(err).String())
		}
		connected = false
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// follow reads one policies stream to its end; reached is called at every message.
func (c *Client) follow(ctx context.Context, p *Policies, reached func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("the operator has fallen silent")) })
	defer quiet.Stop()

	stream, err := c.broker.Policies(ctx)
	if err != nil {
		return err
	}
	hello := &controlpb.PoliciesRequest{HeldVersion: p.held(), SidecarVersion: c.options.Version, Roles: c.roles.list()}
	if err := stream.Send(hello); err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		quiet.Reset(silence)
		reached()
		answer := &controlpb.PoliciesRequest{SidecarVersion: c.options.Version, Roles: c.roles.list()}
		if len(message.GetSetJson()) == 0 {
			err = p.confirm()
		} else if err = p.put(message.GetSetJson()); err == nil {
			c.options.Log.Info("Policies are in force", "version", p.held())
		} else {
			c.options.Log.Error(err, "A set of policies cannot be put in force; the last one stays")
		}
		if err != nil {
			answer.Error = err.Error()
		}
		answer.HeldVersion = p.held()
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
