package snapshot

import (
	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (c *converter) streams(at Path, in []v1alpha1.StreamMasking) []policy.Masking {
	var out []policy.Masking
	for i, m := range in {
		c.pattern(at.Index(i).Child("pattern"), m.Pattern)
		out = append(out, policy.Masking{Detectors: detectors(m.Detectors), Pattern: m.Pattern, Method: policy.MaskRedact})
	}
	return out
}
