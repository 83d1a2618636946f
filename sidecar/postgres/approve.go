package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// maxAhead is how much an agent may send while it waits for people. Behind it the connection stands still, and
// that the agent hung up shows only once people have decided.
const maxAhead = bufferSize

// approve asks people about the command that the core holds, watching meanwhile whether the agent cancels or
// hangs up. d.mu is held around it.
func (d *driver) approve(ctx context.Context) {
	ask := d.core.Ask()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.stop, d.stopped = stop, false
	d.mu.Unlock()

	gone := watch(d.agent, stop)
	grant, err := d.session.Approvals.Await(ctx, ask, func(request string) {
		d.mu.Lock()
		d.core.Noted(request)
		d.mu.Unlock()
		if d.flushAgent() != nil {
			stop()
		}
	})
	ahead, hungUp := gone()
	d.ahead = append(d.ahead, ahead...)

	d.mu.Lock()
	d.stop = nil
	switch {
	case hungUp:
		d.endLocked(nil)
		err = errAgentGone
	case d.stopped:
		err = wire.ErrCancelled
	}
	if err != nil {
		grant = nil
	}
	d.core.Decided(grant, err)
}

// watch reads ahead from the agent until the returned function is called, which returns what was read and tells
// whether the agent has hung up; that also calls stop, at once.
func watch(agent net.Conn, stop func()) (end func() (ahead []byte, hungUp bool)) {
	var read []byte
	done := make(chan bool, 1)
	go func() {
		for len(read) < maxAhead {
			var p [4 << 10]byte
			n, err := agent.Read(p[:])
			read = append(read, p[:n]...)
			var timeout net.Error
			switch {
			case err == nil:
			case errors.As(err, &timeout) && timeout.Timeout():
				done <- false
				return
			default:
				stop()
				done <- true
				return
			}
		}
		done <- false
	}()
	return func() ([]byte, bool) {
		// A read that a deadline ends has taken nothing, over TLS too.
		_ = agent.SetReadDeadline(time.Unix(1, 0))
		hungUp := <-done
		_ = agent.SetReadDeadline(time.Time{})
		return read, hungUp
	}
}

// access asks people for the session itself, where a policy wants that, and bounds it.
func (p *Protocol) access(ctx context.Context, s *session.Session, c *client, rules *wire.Rules) (admitted context.Context, end context.CancelFunc, err error) {
	d, agent, start := rules.Destination(), c.conn, c.start
	text, _ := rules.Clean(fmt.Sprintf("connect to database %q as user %q of target %s", database(start), start.Get("user"), d.Name()), maxPurpose)
	purpose := session.Purpose{Text: text, Justification: rules.Justify("", start.Get("application_name"))}
	if !d.AccessAsks() {
		return s.Admit(ctx, purpose, nil)
	}
	// A notice may not come before AuthenticationOk.
	if err := c.greet(); err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	gone := watch(agent, stop)
	admitted, end, err = s.Admit(ctx, purpose, func(ask session.Ask, request string) {
		if _, err := agent.Write(wire.ApprovalNotice(ask.Verdict, request)); err != nil {
			stop()
		}
	})
	// What a client says before it is told that it may is lost with it: no client does.
	if early, hungUp := gone(); hungUp || len(early) > 0 {
		stop()
		return nil, nil, errors.Join(err, errAgentGone)
	}
	if err != nil {
		stop()
		return nil, nil, &Refusal{Code: "42501", Message: err.Error(), Detail: "target " + d.Name() + ", rule " + policy.RuleAccess, cause: err,
			Hint: "Connect again to ask again, or once the request is approved."}
	}
	finish := end
	return admitted, func() { finish(); stop() }, nil
}

// maxPurpose bounds what is shown to people about a session: two names of 63 bytes and a target's, with room.
const maxPurpose = 512
