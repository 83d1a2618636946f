package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// redirect is the init container that programs the pod's network namespace. It runs as root with one capability,
// whatever the pod says of runAsNonRoot, because nftables asks for NET_ADMIN in the effective set, which another
// user would not have.
func redirect(uid int64, o Options) corev1.Container {
	return corev1.Container{
		Name:            layout.RedirectContainer,
		Image:           o.Image,
		ImagePullPolicy: o.PullPolicy,
		Command:         []string{layout.SidecarBinary},
		Args:            []string{"redirect"},
		Env:             append([]corev1.EnvVar{{Name: layout.EnvUID, Value: strconv.FormatInt(uid, 10)}}, downward()...),
		Resources:       resources(o),
		VolumeMounts:    []corev1.VolumeMount{{Name: layout.StateVolume, MountPath: layout.StatePath}},
		SecurityContext: &corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{
				Drop: []corev1.Capability{"ALL"},
				Add:  []corev1.Capability{"NET_ADMIN"},
			},
			RunAsUser:                ptr.To[int64](0),
			RunAsGroup:               ptr.To[int64](0),
			RunAsNonRoot:             ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			AllowPrivilegeEscalation: ptr.To(false),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}
}

// resources are requests and limits alike, so that the sidecar has what it was promised when the agent is greedy.
func resources(o Options) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: o.Resources.DeepCopy(), Limits: o.Resources.DeepCopy()}
}

// downward is what a container of ours knows of its pod.
func downward() []corev1.EnvVar {
	fields := []struct{ name, path string }{
		{layout.EnvPodName, "metadata.name"},
		{layout.EnvPodNamespace, "metadata.namespace"},
		{layout.EnvPodUID, "metadata.uid"},
		{layout.EnvPodIPs, "status.podIPs"},
	}
	var out []corev1.EnvVar
	for _, f := range fields {
		out = append(out, corev1.EnvVar{Name: f.name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: f.path},
		}})
	}
	return out
}
