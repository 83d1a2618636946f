package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// readyAttempts, one a second, is how long the sidecar may wait for its first policy before the kubelet restarts
// it: longer than the operator's own restart with a leader election in it.
const readyAttempts = 300

// sidecar is the native sidecar (KEP-753): the kubelet starts what follows only once its startup probe has passed.
// Every field that the API server would fill in is filled in here, so that the pod read back is the pod written.
func sidecar(uid int64, kube bool, o Options) corev1.Container {
	env := []corev1.EnvVar{
		{Name: layout.EnvBroker, Value: o.Broker},
		{Name: layout.EnvBrokerCA, Value: string(o.RootPEM)},
		{Name: layout.EnvUID, Value: strconv.FormatInt(uid, 10)},
		{Name: layout.EnvSpoolBytes, Value: strconv.FormatInt(o.SpoolLimit.Value(), 10)},
	}
	env = append(env, downward()...)
	if limit, ok := o.Resources[corev1.ResourceMemory]; ok {
		// The SQL grammar allocates outside Go's heap, which the runtime's limit does not see.
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit.Value()/5*4, 10)})
	}
	mounts := []corev1.VolumeMount{
		{Name: layout.StateVolume, MountPath: layout.StatePath},
		{Name: layout.SpoolVolume, MountPath: layout.SpoolPath},
		{Name: layout.TrustVolume, MountPath: layout.TrustPath},
		{Name: layout.IdentityVolume, MountPath: layout.IdentityPath, ReadOnly: true},
	}
	if kube {
		mounts = append(mounts, corev1.VolumeMount{Name: layout.KubeVolume, MountPath: layout.KubePath})
	}
	return corev1.Container{
		Name:            layout.SidecarContainer,
		Image:           o.Image,
		ImagePullPolicy: o.PullPolicy,
		Command:         []string{layout.SidecarBinary},
		Args:            []string{"run"},
		Env:             env,
		Resources:       resources(o),
		RestartPolicy:   ptr.To(corev1.ContainerRestartPolicyAlways),
		VolumeMounts:    mounts,
		StartupProbe: &corev1.Probe{
			ProbeHandler:     corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{layout.SidecarBinary, "ready"}}},
			PeriodSeconds:    1,
			TimeoutSeconds:   5,
			SuccessThreshold: 1,
			FailureThreshold: readyAttempts,
		},
		SecurityContext: &corev1.SecurityContext{
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			RunAsUser:                ptr.To(uid),
			RunAsGroup:               ptr.To(uid),
			RunAsNonRoot:             ptr.To(true),
			ReadOnlyRootFilesystem:   ptr.To(true),
			AllowPrivilegeEscalation: ptr.To(false),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}
