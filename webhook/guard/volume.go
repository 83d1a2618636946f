package guard

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

var hostPath = eachVolume("host-path", func(in Input, v corev1.Volume) string {
	if v.HostPath != nil {
		return "is a hostPath: the node's files hold every pod's secrets; use a persistent volume claim or an emptyDir"
	}
	return ""
})

// nodeNetwork: the node, not the pod, connects these, so neither redirect nor filter sees what an agent writes there.
// A claim is another matter: its PersistentVolume is made by whoever runs the cluster.
var nodeNetwork = eachVolume("node-network", func(in Input, v corev1.Volume) string {
	for _, kind := range []struct {
		name string
		set  bool
	}{
		{"nfs", v.NFS != nil},
		{"iscsi", v.ISCSI != nil},
		{"glusterfs", v.Glusterfs != nil},
		{"rbd", v.RBD != nil},
		{"cephfs", v.CephFS != nil},
		{"fc", v.FC != nil},
		{"flexVolume", v.FlexVolume != nil},
		{"azureFile", v.AzureFile != nil},
		{"quobyte", v.Quobyte != nil},
		{"storageos", v.StorageOS != nil},
		{"scaleIO", v.ScaleIO != nil},
		{"portworxVolume", v.PortworxVolume != nil},
		{"flocker", v.Flocker != nil},
		{"gitRepo", v.GitRepo != nil},
	} {
		if kind.set {
			return fmt.Sprintf("is of kind %s, which the node connects past the sidecar; use a persistent volume claim", kind.name)
		}
	}
	return ""
})

var inlineCSI = eachVolume("inline-csi", func(in Input, v corev1.Volume) string {
	if v.CSI != nil {
		return fmt.Sprintf("is an inline CSI volume (%s), which may bring tokens and secrets to the agent; use a persistent volume claim, or a policy target for what it was to reach", v.CSI.Driver)
	}
	return ""
})

var tokenProjections = eachVolume("token-projection", func(in Input, v corev1.Volume) string {
	if v.Projected == nil {
		return ""
	}
	for _, source := range v.Projected.Sources {
		switch {
		case source.ServiceAccountToken != nil:
			return fmt.Sprintf("projects a service account token (audience %q) to the agent; remove it and let the policy have a target for what it was to reach",
				source.ServiceAccountToken.Audience)
		case source.PodCertificate != nil:
			return "projects a pod certificate to the agent; remove it and let the policy have a target for what it was to reach"
		}
	}
	return ""
})

func automount(in Input) (reason, message string, refused bool) {
	return "automount",
		"spec.automountServiceAccountToken is not false as it was injected, so the API server would put a token into the agent; exclude the pod from the webhook that changed it",
		ptr.Deref(in.Pod.Spec.AutomountServiceAccountToken, true)
}

// ourVolumes: agents see of our volumes the public material alone, and may not write it.
var ourVolumes = eachAgent("sidecar-volume", func(in Input, a agent) string {
	for _, m := range a.VolumeMounts {
		if !layout.OurVolume(m.Name) {
			continue
		}
		public := m.Name == layout.TrustVolume || m.Name == layout.KubeVolume
		if !public || !m.ReadOnly {
			return fmt.Sprintf("mounts volume %s at %s, which is the sidecar's own; remove the mount", m.Name, m.MountPath)
		}
	}
	for _, e := range a.Env {
		// The kubelet reads the file for the container, which needs no mount for that (KEP-3721).
		if e.ValueFrom != nil && e.ValueFrom.FileKeyRef != nil && layout.OurVolume(e.ValueFrom.FileKeyRef.VolumeName) {
			return fmt.Sprintf("takes variable %s from volume %s, which is the sidecar's own; remove it", e.Name, e.ValueFrom.FileKeyRef.VolumeName)
		}
	}
	for _, d := range a.VolumeDevices {
		if layout.OurVolume(d.Name) {
			return fmt.Sprintf("uses volume %s as a device, which is the sidecar's own; remove it", d.Name)
		}
	}
	return ""
})

// noAudience: a token for the broker in a pod that was not injected is an attempt to be somebody's sidecar.
func noAudience(in Input) (reason, message string, refused bool) {
	for _, v := range in.Pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if t := source.ServiceAccountToken; t != nil && t.Audience == layout.TokenAudience {
				return "broker-token", fmt.Sprintf("volume %s projects a token for %s, which is for injected sidecars alone; remove it", v.Name, layout.TokenAudience), true
			}
		}
	}
	return "", "", false
}
