package broker

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/guard"
)

// Impostor returns the container that runs as the sidecar's user and is not the sidecar, as the kubelet reports it
// (containerStatuses[].user, KEP-3619); "" if there is none.
func Impostor(pod *corev1.Pod) (container string, uid int64) {
	uid, ok := guard.UID(pod)
	if !ok {
		return "", 0
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			s := &list[i]
			if s.Name != layout.SidecarContainer && s.User != nil && s.User.Linux != nil && s.User.Linux.UID == uid {
				return s.Name, uid
			}
		}
	}
	return "", uid
}
