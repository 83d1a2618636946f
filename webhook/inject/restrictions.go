package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Restricted is what several policies together leave to agent containers.
type Restricted struct {
	// Capabilities that a container may keep, sorted.
	Capabilities []corev1.Capability
	// TrustPaths are overlaid with the pod's CA, sorted.
	TrustPaths []string
	// PinnedImages demands a digest or an explicit runAsUser.
	PinnedImages bool
}

// defaultCapabilities are what a policy leaves that does not say (api/v1alpha1 ContainerRestrictions).
var defaultCapabilities = []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE"}

// AgentCapabilities are all that a policy may leave (api/v1alpha1 AgentCapability).
var AgentCapabilities = append([]corev1.Capability{"SETFCAP", "SYS_CHROOT"}, defaultCapabilities...)

// runtimeCapabilities are what containerd gives a container that does not say (containerd oci.WithDefaultUnixCaps).
var runtimeCapabilities = []corev1.Capability{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// Restrictions puts the policies together: a container keeps only what every policy leaves it, and finds the CA
// wherever any policy says.
func Restrictions(policies []v1alpha1.AgentPolicy) Restricted {
	var out Restricted
	for i := range policies {
		left := defaultCapabilities
		if c := policies[i].Spec.Containers; c != nil {
			out.PinnedImages = out.PinnedImages || c.RequirePinnedImages
			if c.Capabilities != nil {
				left = nil
				for _, capability := range c.Capabilities {
					left = append(left, normal(corev1.Capability(capability)))
				}
			}
		}
		if i == 0 {
			out.Capabilities = slices.Clone(left)
		} else {
			out.Capabilities = intersect(out.Capabilities, left)
		}
		if t := policies[i].Spec.Trust; t != nil {
			out.TrustPaths = append(out.TrustPaths, t.Paths...)
		}
	}
	slices.Sort(out.Capabilities)
	slices.Sort(out.TrustPaths)
	out.TrustPaths = slices.Compact(out.TrustPaths)
	return out
}

func intersect(a, b []corev1.Capability) []corev1.Capability {
	var out []corev1.Capability
	for _, capability := range a {
		if slices.Contains(b, capability) {
			out = append(out, capability)
		}
	}
	return out
}

// normal is the form in which capabilities are compared: the kernel's name in upper case, without CAP_.
func normal(capability corev1.Capability) corev1.Capability {
	return corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(capability)), "CAP_"))
}
