package inject

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

const (
	// tokenSeconds is the life of the projected tokens: the shortest that the kubelet renews without pressing the
	// API server (it renews at four fifths), an hour being the API server's own default.
	tokenSeconds = 3600
	// rootConfigMap is published in every namespace by kube-controller-manager (RootCAConfigMap).
	rootConfigMap = "kube-root-ca.crt"
	// fileMode of projected files, the API server's default.
	fileMode = 0o644
)

// volumes are ours, in the order in which they stand at the head of the pod's.
func volumes(kube bool, o Options) []corev1.Volume {
	// The last policy of a pod is the largest thing in its state: a few hundred rules are well under a megabyte.
	out := []corev1.Volume{
		memory(layout.StateVolume, "16Mi"),
		{Name: layout.SpoolVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(o.SpoolLimit.DeepCopy())},
		}},
		memory(layout.TrustVolume, "1Mi"),
		identity(kube),
	}
	if kube {
		out = append(out, memory(layout.KubeVolume, "1Mi"))
	}
	return out
}

func memory(name, limit string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium:    corev1.StorageMediumMemory,
		SizeLimit: ptr.To(resource.MustParse(limit)),
	}}}
}

// identity projects the broker's token and, where the pod's containers would have had it, the real token of the
// service account: both into the sidecar alone.
func identity(kube bool) corev1.Volume {
	sources := []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience:          layout.TokenAudience,
		ExpirationSeconds: ptr.To[int64](tokenSeconds),
		Path:              layout.TokenFile,
	}}}
	if kube {
		sources = append(sources,
			corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				ExpirationSeconds: ptr.To[int64](tokenSeconds),
				Path:              layout.KubeTokenFile,
			}},
			corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootConfigMap},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: layout.KubeCAFile}},
			}})
	}
	return corev1.Volume{Name: layout.IdentityVolume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: ptr.To[int32](fileMode)},
	}}
}
