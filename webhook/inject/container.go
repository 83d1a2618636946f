package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// restrict returns the container's security context with nothing in it that leads around the sidecar. What the
// container asks for in so many words and may not have (privileged, a forbidden capability) is left for the guard,
// which refuses the pod: taken away in silence, it would fail in a way that nobody understands.
func restrict(in *corev1.SecurityContext, allowed Restricted) *corev1.SecurityContext {
	out := in.DeepCopy()
	if out == nil {
		out = &corev1.SecurityContext{}
	}
	asked := out.Capabilities
	if asked == nil {
		asked = &corev1.Capabilities{}
	}
	var kept []corev1.Capability
	for _, capability := range asked.Add {
		kept = append(kept, normal(capability))
	}
	for _, capability := range runtimeCapabilities {
		if !drops(asked, capability) && slices.Contains(allowed.Capabilities, capability) {
			kept = append(kept, capability)
		}
	}
	slices.Sort(kept)
	out.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: slices.Compact(kept)}
	out.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	// The API server itself refuses false beside privileged, with less to say about why.
	if !ptr.Deref(out.Privileged, false) {
		out.AllowPrivilegeEscalation = ptr.To(false)
	}
	return out
}

func drops(c *corev1.Capabilities, capability corev1.Capability) bool {
	return slices.ContainsFunc(c.Drop, func(d corev1.Capability) bool {
		return normal(d) == capability || normal(d) == "ALL"
	})
}
