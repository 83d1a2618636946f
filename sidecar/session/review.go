package session

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// ErrNoLongerAllowed is the cause of the context of what goes on, where the policies changed and deny it now. What wraps
// it says in words for the agent which rule that is.
var ErrNoLongerAllowed = errors.New("the policies of this pod changed and no longer allow this")

// WhileAllowed is for what goes on for a while once it is allowed: a program that runs, a terminal, a watch. Its context
// ends when the rules change so that judge, asked with the new ones, returns an error. That error says what denies it, and
// becomes the context's cause, wrapped by ErrNoLongerAllowed. under are the rules by which it was allowed: where others are
// in force by now judge is asked at once, so that no change is missed. It may be asked with nil, where no policy has the
// destination any more, and from another goroutine. The caller calls end when it is over.
func (s *Session) WhileAllowed(ctx context.Context, under *policy.Destination, judge func(now *policy.Destination) error) (allowed context.Context, end context.CancelFunc) {
	allowed, cancel := context.WithCancelCause(ctx)
	if s.Changed != nil {
		go s.follow(allowed, under, func(now *policy.Destination) bool {
			err := s.contained(judge, now)
			if err != nil {
				cancel(fmt.Errorf("%w: %w", ErrNoLongerAllowed, err))
			}
			return err == nil
		})
	}
	return allowed, func() { cancel(nil) }
}

// follow has stands asked of every change of the rules until it says no, or ctx ends.
func (s *Session) follow(ctx context.Context, under *policy.Destination, stands func(*policy.Destination) bool) {
	for {
		changed := s.Changed() // before the rules are looked at: what changes behind that is not missed
		if now := s.Rules(); now != under {
			if !stands(now) {
				return
			}
			under = now
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// contained asks judge. What cannot be judged is not allowed; a fault there must not end the sidecar.
func (s *Session) contained(judge func(*policy.Destination) error, now *policy.Destination) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.Log.Error(fmt.Errorf("%v", fault), "Something could not be judged again", "stack", string(debug.Stack()))
			err = errors.New("it could not be judged again by them")
		}
	}()
	return judge(now)
}
