package kube

import (
	"fmt"
	"sync/atomic"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// rules are a destination's, with what follows from them.
type rules struct {
	*policy.Destination
	detectors *mask.Detectors
	// unmasked is why what the policy wants masked cannot be found: everything is denied then. A policy with such a
	// detector or pattern is not admitted; a later operator may know more than this sidecar.
	unmasked error
}

// compiledRules keeps the rules that were compiled last: requests come many to a policy, and patterns are costly.
type compiledRules struct{ last atomic.Pointer[rules] }

// of returns the rules of a destination, which does not change.
func (c *compiledRules) of(d *policy.Destination) *rules {
	if last := c.last.Load(); last != nil && last.Destination == d {
		return last
	}
	r := compileRules(d)
	c.last.Store(r)
	return r
}

func compileRules(d *policy.Destination) *rules {
	r := &rules{Destination: d, detectors: mask.All()} // also of policies that contradict each other, which deny everything
	if settings := d.Kubernetes(); settings != nil {
		if compiled, err := mask.Compile(settings.Masking); err != nil {
			r.unmasked = fmt.Errorf("what the policy wants masked cannot be found: %w", err)
		} else {
			r.detectors = compiled
		}
	}
	return r
}

// DecideAll is the destination's, and denies what cannot be masked as the policy says.
func (r *rules) DecideAll(commands []policy.Command) (policy.Verdict, int) {
	v, n := r.Destination.DecideAll(commands)
	if r.unmasked != nil {
		v.Action, v.Message, v.Approval = policy.Deny, r.unmasked.Error(), nil
	}
	return v, n
}
