package inject

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// envRootCert is where libpq and the drivers that follow it look for the server's root
// (PostgreSQL documentation, libpq "Environment Variables").
const envRootCert = "PGSSLROOTCERT"

// protect makes a container of the pod an agent's: restricted, and with what it needs to trust the sidecar.
func protect(c *corev1.Container, allowed Restricted, kube bool) {
	c.SecurityContext = restrict(c.SecurityContext, allowed)
	c.Env = withRootCert(c.Env)
	mounts := []corev1.VolumeMount{{Name: layout.TrustVolume, MountPath: layout.TrustPath, ReadOnly: true}}
	if kube {
		mounts = append(mounts, corev1.VolumeMount{Name: layout.KubeVolume, MountPath: layout.ServiceAccountPath, ReadOnly: true})
	}
	// The runtime makes the file to mount on where the image has none, but cannot do so inside another mount.
	if !beneath(c.VolumeMounts, layout.SystemKnownHosts) {
		mounts = append(mounts, overlay(layout.SystemKnownHosts, layout.KnownHostsFile))
	}
	for _, file := range allowed.TrustPaths {
		// The policy says that clients read this file: what the pod itself mounts there gives way.
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return path.Clean(m.MountPath) == path.Clean(file)
		})
		if !slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == path.Clean(file) }) {
			mounts = append(mounts, overlay(path.Clean(file), layout.CAFile))
		}
	}
	c.VolumeMounts = append(c.VolumeMounts, mounts...)
}

func withRootCert(in []corev1.EnvVar) []corev1.EnvVar {
	if slices.ContainsFunc(in, func(e corev1.EnvVar) bool { return e.Name == envRootCert }) {
		return in
	}
	return append(in, corev1.EnvVar{Name: envRootCert, Value: path.Join(layout.TrustPath, layout.CAFile)})
}

func overlay(at, file string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: layout.TrustVolume, MountPath: at, SubPath: file, ReadOnly: true}
}

// beneath reports whether the container has a mount of its own at the file or at a directory above it.
func beneath(in []corev1.VolumeMount, file string) bool {
	return slices.ContainsFunc(in, func(m corev1.VolumeMount) bool {
		at := path.Clean(m.MountPath)
		return at == file || at == "/" || strings.HasPrefix(file, at+"/")
	})
}
