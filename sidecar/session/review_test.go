package session_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

func TestWhatGoesOnEndsOnceTheRulesDenyIt(t *testing.T) {
	var changes session.Changes
	first, second, third := &policy.Destination{}, &policy.Destination{}, &policy.Destination{}
	var rules atomic.Pointer[policy.Destination]
	rules.Store(second)
	s := &session.Session{Rules: rules.Load, Changed: changes.Next, Log: logr.Discard()}
	asked := make(chan *policy.Destination, 8)
	ctx, end := s.WhileAllowed(t.Context(), first, func(now *policy.Destination) error {
		asked <- now
		if now == third {
			return errors.New(`rule "third"`)
		}
		return nil
	})
	defer end()
	if got := <-asked; got != second {
		t.Error("a change before it began was missed")
	}
	changes.Announce() // of nothing that concerns it
	rules.Store(third)
	changes.Announce()
	if got := <-asked; got != third {
		t.Error("it was judged by rules that had not changed")
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, session.ErrNoLongerAllowed) || !strings.Contains(cause.Error(), `rule "third"`) {
		t.Errorf("it ended with %v", cause)
	}
}

func TestWhatIsOverIsNotJudgedAgain(t *testing.T) {
	var changes session.Changes
	var rules atomic.Pointer[policy.Destination]
	s := &session.Session{Rules: rules.Load, Changed: changes.Next, Log: logr.Discard()}
	ctx, end := s.WhileAllowed(t.Context(), nil, func(*policy.Destination) error { return errors.New("denied") })
	end()
	<-ctx.Done()
	rules.Store(&policy.Destination{})
	changes.Announce()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("it ended with %v", cause)
	}
}

func TestAFaultInJudgingAgainDenies(t *testing.T) {
	var changes session.Changes
	s := &session.Session{Rules: func() *policy.Destination { return nil }, Changed: changes.Next, Log: logr.Discard()}
	ctx, end := s.WhileAllowed(t.Context(), &policy.Destination{}, func(*policy.Destination) error { panic("a fault") })
	defer end()
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if cause := context.Cause(ctx); !errors.Is(cause, session.ErrNoLongerAllowed) {
		t.Errorf("it ended with %v", cause)
	}
}
