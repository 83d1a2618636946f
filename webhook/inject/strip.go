package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// resembles reports whether the pod was injected once, or was made to look so: seen again after other webhooks,
// copied from an injected pod (kubectl debug --copy-to keeps init containers and volumes and drops annotations), or
// forged.
func resembles(pod *corev1.Pod) bool {
	for _, key := range []string{layout.InjectedAnnotation, layout.BoundLabelsAnnotation, layout.SealAnnotation} {
		if _, ok := pod.Annotations[key]; ok {
			return true
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == layout.SidecarContainer && mounts(c, layout.IdentityVolume) {
			return true
		}
	}
	return false
}

func mounts(c *corev1.Container, volume string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
}

// strip takes out everything that injection puts in.
func strip(pod *corev1.Pod) {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return layout.Ours(c.Name) })
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return layout.OurVolume(v.Name) })
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = withoutOurs(list[i].VolumeMounts)
			list[i].Env = withoutTrust(list[i].Env)
		}
	}
	for _, key := range []string{layout.InjectedAnnotation, layout.BoundLabelsAnnotation, layout.SealAnnotation} {
		delete(pod.Annotations, key)
	}
	delete(pod.Labels, layout.InjectedLabel)
}

func withoutOurs(in []corev1.VolumeMount) []corev1.VolumeMount {
	return slices.DeleteFunc(in, func(m corev1.VolumeMount) bool { return layout.OurVolume(m.Name) })
}

// withoutTrust drops the variable where its value is ours; a container's own choice stays.
func withoutTrust(in []corev1.EnvVar) []corev1.EnvVar {
	return slices.DeleteFunc(in, func(e corev1.EnvVar) bool {
		return e.Name == envRootCert && strings.HasPrefix(e.Value, layout.TrustPath+"/")
	})
}
