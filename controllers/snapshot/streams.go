package snapshot

import (
	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/mask/pattern"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (c *converter) streams(at Path, in []v1alpha1.StreamMasking) []policy.Masking {
	var out []policy.Masking
	patterns := 0
	for i, m := range in {
		if m.Pattern != "" {
			at := at.Index(i).Child("pattern")
			if patterns++; patterns > pattern.MaxPatterns {
				c.failf(at, "at most %d patterns are allowed for a target, each of which reads every stream: join some with |", pattern.MaxPatterns)
			}
			if _, err := pattern.Compile(m.Pattern); err != nil {
				c.failf(at, "%w", err)
			}
		}
		out = append(out, policy.Masking{Detectors: detectors(m.Detectors), Pattern: m.Pattern, Method: policy.MaskRedact})
	}
	return out
}
