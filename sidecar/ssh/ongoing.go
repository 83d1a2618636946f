package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// passage is what the gate let through.
type passage struct {
	number   uint64              // under which it was recorded
	under    *policy.Destination // the rules that let it through
	commands []policy.Command
}

// whileAllowed is for what was let through and goes on for a while: its context ends once changed policies deny it.
func (c *connection) whileAllowed(ctx context.Context, p passage) (allowed context.Context, over context.CancelFunc) {
	return c.session.WhileAllowed(ctx, p.under, func(now *policy.Destination) error { return c.denies(now, p.commands) })
}

// stillAllowed is for what was let through and is used now and then: the error that it returns says what denies it by
// now. It is safe for concurrent use.
func (c *connection) stillAllowed(p passage) func() error {
	var under atomic.Pointer[policy.Destination]
	under.Store(p.under)
	return func() error {
		now := c.session.Rules()
		if now == under.Load() {
			return nil
		}
		if err := c.denies(now, p.commands); err != nil {
			return fmt.Errorf("%w: %w", session.ErrNoLongerAllowed, err)
		}
		under.Store(now)
		return nil
	}
}

// denies says by what the rules in force now deny what others let through; nil where they do not. What people would now
// have to approve goes on: they are asked before something begins.
func (c *connection) denies(now *policy.Destination, commands []policy.Command) error {
	if err := c.usable(now); err != nil {
		r := asRefusal(err)
		return errors.New(strings.TrimPrefix(r.message, deniedPrefix))
	}
	v, _ := decide(now, commands)
	if v.Action != policy.Deny {
		return nil
	}
	if v.Message == "" {
		return errors.New(ruling(v))
	}
	return fmt.Errorf("%s (%s)", strings.TrimSuffix(v.Message, "."), ruling(v))
}

// usable says whether rules are for this connection, which is logged in by now: a *refusal where they are not.
func (c *connection) usable(d *policy.Destination) error {
	switch {
	case d == nil:
		return failure(nil, "no policy has a target for this host", "")
	case d.Conflict() != "":
		return failure(nil, "connections to target "+d.Name()+" are refused: "+d.Conflict(), "Whoever owns the policies has to make them agree.")
	case d.SSH() == nil:
		return failure(nil, "target "+d.Name()+" is no SSH server", "")
	case c.upstream == nil: // not logged in
		return nil
	}
	user, s := c.upstream.user, d.SSH()
	if s.User == user || s.User == "" && (s.Users == nil || slices.Contains(s.Users, user)) {
		return nil
	}
	in := s.Users
	if s.User != "" {
		in = []string{s.User}
	}
	return &refusal{
		status: statusDenied, message: fmt.Sprintf("%suser %q of target %s, as whom this connection is logged in", deniedPrefix, user, d.Name()),
		detail: "The policy lets in as: " + strings.Join(in, ", "), hint: "Connect again.",
	}
}

// endedPrefix begins what is said of what the sidecar ends.
const endedPrefix = "ended: "

// interruption is the answer to what ends because its context did, nil where the agent ended it.
func interruption(allowed context.Context) *refusal {
	cause := context.Cause(allowed)
	if !errors.Is(cause, session.ErrNoLongerAllowed) {
		return nil
	}
	return &refusal{message: endedPrefix + cause.Error(), status: statusDenied, cause: cause,
		hint: "The connection goes on. To be allowed it again, ask the policy's owner to change the rule."}
}
