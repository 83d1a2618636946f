package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// whileAllowed ends what goes on for a while (a session of a pod, a watch, a log that is followed) once changed policies
// deny it. One that people would now have to approve goes on: they are asked before something begins.
func (x *exchange) whileAllowed() (over func()) {
	if x.request.Exec == nil && !x.request.Forward && !x.request.Watch && !x.request.Follow {
		return func() {}
	}
	commands := x.commands
	ctx, over := x.session.WhileAllowed(x.r.Context(), x.rules.Destination, func(now *policy.Destination) error {
		if now == nil || now.Kubernetes() == nil && now.Conflict() == "" {
			return errors.New("none has a target for this API server")
		}
		v, _ := x.compiled.of(now).DecideAll(commands)
		if v.Action != policy.Deny {
			return nil
		}
		return errors.New(judgement(v))
	})
	x.r = x.r.WithContext(ctx)
	return over
}

// judgement is what a rule says of what it denies.
func judgement(v policy.Verdict) string {
	if v.Message == "" {
		return ruling(v)
	}
	return fmt.Sprintf("%s (%s)", strings.TrimSuffix(v.Message, "."), ruling(v))
}

// interruption is why a request's context ended although its agent is there, in words for the agent.
func interruption(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errors.New("the session was ended by the sidecar")
}

// interrupted is the answer to a request whose context ended before the API server's answer came.
func (x *exchange) interrupted() *refusal {
	cause := context.Cause(x.r.Context())
	if errors.Is(cause, context.Canceled) {
		return errGone // or the sidecar ends
	}
	return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: cause.Error() + "; ended by Chaperone"}
}

// farewell ends a watch, or a log that is followed, whose context ended. What the sidecar ended is told as the event of a
// watch, where there is room for one; other answers break off, so that nobody takes them for whole.
func (x *exchange) farewell(response *http.Response, out *outlet, result *record.Event) error {
	refused := x.interrupted()
	if errors.Is(refused, errGone) {
		return nil // how an agent ends a watch
	}
	result.Error = refused.message
	out.mu.Lock()
	defer out.mu.Unlock()
	if !x.request.Watch || !isJSON(response) || response.StatusCode != http.StatusOK || out.sent > 0 && out.last != '\n' {
		return refused.broken()
	}
	event := append([]byte(`{"type":"ERROR","object":`), refused.body(nil)...)
	event[len(event)-1] = '}'
	if err := out.write(append(event, '\n')); err != nil {
		return err
	}
	return out.flush()
}

// broken is the refusal as an error that is no answer, where one is already being given.
func (r *refusal) broken() error { return errors.New(r.message) }
