package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// accessPrefix begins the names of the volumes that the API server's ServiceAccount plugin adds.
const accessPrefix = "kube-api-access-"

// usesServiceAccount reports whether some container of the pod would find a token at the standard path. The
// ServiceAccount plugin has run before any webhook, so its mount is there, or ours from a moment ago.
func usesServiceAccount(pod *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, m := range list[i].VolumeMounts {
				if m.MountPath == layout.ServiceAccountPath {
					return true
				}
			}
		}
	}
	return false
}

// withoutServiceAccount takes the real token from every container, and keeps the plugin, which runs again after a
// webhook has changed the pod, from putting it back.
func withoutServiceAccount(pod *corev1.Pod) {
	pod.Spec.AutomountServiceAccountToken = ptr.To(false)
	dropped := map[string]bool{}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		drop := strings.HasPrefix(v.Name, accessPrefix) && v.Projected != nil
		dropped[v.Name] = drop
		return drop
	})
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = slices.DeleteFunc(list[i].VolumeMounts, func(m corev1.VolumeMount) bool {
				return dropped[m.Name] || m.MountPath == layout.ServiceAccountPath
			})
		}
	}
}
