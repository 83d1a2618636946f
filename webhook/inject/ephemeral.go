package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Ephemeral returns the pod with those of its ephemeral containers restricted that old does not have; those that it
// has may not change. They get no single-file mounts, which the API does not allow them (subPath).
func Ephemeral(pod, old *corev1.Pod, policies []v1alpha1.AgentPolicy) *corev1.Pod {
	out := pod.DeepCopy()
	if len(policies) == 0 || !resembles(old) {
		return out
	}
	allowed := Restrictions(policies)
	kube := slices.ContainsFunc(old.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == layout.KubeVolume })
	known := map[string]bool{}
	for i := range old.Spec.EphemeralContainers {
		known[old.Spec.EphemeralContainers[i].Name] = true
	}
	for i := range out.Spec.EphemeralContainers {
		c := &out.Spec.EphemeralContainers[i]
		if known[c.Name] {
			continue
		}
		c.SecurityContext = restrict(c.SecurityContext, allowed)
		c.Env = withRootCert(withoutTrust(c.Env))
		c.VolumeMounts = append(withoutOurs(c.VolumeMounts), corev1.VolumeMount{
			Name: layout.TrustVolume, MountPath: layout.TrustPath, ReadOnly: true,
		})
		if kube {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{
				Name: layout.KubeVolume, MountPath: layout.ServiceAccountPath, ReadOnly: true,
			})
		}
	}
	return out
}
