package ssh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// admit asks people for the connection itself, where policies say so, and sees to it that it ends in time. An error is a
// *refusal.
func (c *connection) admit(ctx context.Context, d *policy.Destination) error {
	text := fmt.Sprintf("log in to target %s", d.Name())
	if d.SSH().User == "" {
		text += fmt.Sprintf(" as user %q", c.agent.conn.User())
	}
	text, _ = c.masking().Text(text, maxPurpose)
	admitted, end, err := c.session.Admit(ctx, session.Purpose{Text: text}, func(ask session.Ask, request string) {
		if a := ask.Verdict.Approval; a != nil && a.WaitSeconds > 0 {
			c.notify(waitingText(ask.Verdict, request))
		}
	})
	if err != nil {
		return &refusal{message: err.Error(), detail: "target " + d.Name() + ", rule " + policy.RuleAccess, cause: err, status: statusDenied,
			hint: "Connect again to ask again, or once the request is approved."}
	}
	context.AfterFunc(c.ctx, end)
	context.AfterFunc(admitted, func() {
		cause := context.Cause(admitted)
		if !errors.Is(cause, session.ErrAccessOver) {
			return
		}
		// Sessions are told first.
		c.overCause = cause
		close(c.over)
		time.AfterFunc(lossGrace, func() { c.cancel(cause) })
	})
	return nil
}

// maxPurpose bounds what is shown to people about a connection: the names of a target and a user, with room.
const maxPurpose = 512

// timeIsOver tells whether the time is over that access was granted for.
func (c *connection) timeIsOver() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}
