package kube

import (
	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// rules are a destination's, with what follows from them.
type rules struct {
	*policy.Destination
	detectors *mask.Detectors
}

// compileRules cannot fail: a detector that is unknown is found when the policy is admitted, and one of a later operator
// is taken for all that there are.
func compileRules(d *policy.Destination) *rules {
	detectors := mask.All() // of policies that contradict each other, which deny everything
	if settings := d.Kubernetes(); settings != nil {
		if compiled, err := mask.Compile(settings.Masking); err == nil {
			detectors = compiled
		}
	}
	return &rules{Destination: d, detectors: detectors}
}
