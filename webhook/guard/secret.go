package guard

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// use is one place in a pod where a Secret reaches a container.
type use struct {
	secret string
	where  string
}

func uses(in Input) []use {
	var out []use
	for i := range in.Pod.Spec.Volumes {
		v := &in.Pod.Spec.Volumes[i]
		if layout.OurVolume(v.Name) || in.Old != nil { // volumes cannot be changed
			continue
		}
		for _, name := range volumeSecrets(v) {
			out = append(out, use{name, "volume " + v.Name})
		}
	}
	for _, a := range in.agents {
		for _, env := range a.Env {
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				out = append(out, use{env.ValueFrom.SecretKeyRef.Name, a.what + ": variable " + env.Name})
			}
		}
		for _, from := range a.EnvFrom {
			if from.SecretRef != nil {
				out = append(out, use{from.SecretRef.Name, a.what + ": envFrom"})
			}
		}
	}
	return out
}

// volumeSecrets are all Secrets of the pod's namespace that a volume names.
func volumeSecrets(v *corev1.Volume) []string {
	var out []string
	local := func(ref *corev1.LocalObjectReference) {
		if ref != nil {
			out = append(out, ref.Name)
		}
	}
	if v.Secret != nil {
		out = append(out, v.Secret.SecretName)
	}
	if v.Projected != nil {
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				out = append(out, source.Secret.Name)
			}
		}
	}
	if v.CSI != nil {
		local(v.CSI.NodePublishSecretRef)
	}
	if v.FlexVolume != nil {
		local(v.FlexVolume.SecretRef)
	}
	if v.AzureFile != nil {
		out = append(out, v.AzureFile.SecretName)
	}
	if v.ISCSI != nil {
		local(v.ISCSI.SecretRef)
	}
	if v.RBD != nil {
		local(v.RBD.SecretRef)
	}
	if v.CephFS != nil {
		local(v.CephFS.SecretRef)
	}
	if v.Cinder != nil {
		local(v.Cinder.SecretRef)
	}
	if v.ScaleIO != nil {
		local(v.ScaleIO.SecretRef)
	}
	if v.StorageOS != nil {
		local(v.StorageOS.SecretRef)
	}
	return out
}

// policySecrets: what a policy gives the sidecar, no pod of the namespace may have, selected or not.
func policySecrets(in Input) (reason, message string, refused bool) {
	owner := map[string]string{}
	for i := range in.Policies {
		for _, name := range Credentials(&in.Policies[i]) {
			owner[name] = in.Policies[i].Namespace + "/" + in.Policies[i].Name
		}
	}
	for _, u := range uses(in) {
		if policy, ok := owner[u.secret]; ok {
			return "policy-secret", fmt.Sprintf("%s uses Secret %s, which agent policy %s keeps for the sidecar alone; remove it, the sidecar logs in by itself",
				u.where, u.secret, policy), true
		}
	}
	return "", "", false
}

// Credentials returns the Secrets with which the policy's sidecars log in.
func Credentials(policy *v1alpha1.AgentPolicy) []string {
	var out []string
	for i := range policy.Spec.Targets {
		t := &policy.Spec.Targets[i]
		if t.Postgres != nil && t.Postgres.Credentials != nil {
			out = append(out, t.Postgres.Credentials.SecretRef.Name)
		}
		if t.SSH != nil && t.SSH.Credentials != nil {
			for _, ref := range []*v1alpha1.SecretRef{t.SSH.Credentials.SecretRef, t.SSH.Credentials.CertificateAuthorityRef} {
				if ref != nil {
					out = append(out, ref.Name)
				}
			}
		}
		if t.Kubernetes != nil && t.Kubernetes.Credentials != nil {
			out = append(out, t.Kubernetes.Credentials.SecretRef.Name)
		}
	}
	return out
}

// tokenSecrets: a Secret of that type is a service account token that never ends. One that does not exist yet shows
// itself when the sidecar attaches.
func tokenSecrets(in Input) (reason, message string, refused bool) {
	seen := map[string]bool{}
	for _, u := range uses(in) {
		if seen[u.secret] || in.SecretType == nil {
			continue
		}
		seen[u.secret] = true
		kind, err := in.SecretType(u.secret)
		if err != nil {
			return "token-secret", fmt.Sprintf("%s uses Secret %s, whose type cannot be read: %v; try again", u.where, u.secret, err), true
		}
		if kind == corev1.SecretTypeServiceAccountToken {
			return "token-secret", fmt.Sprintf("%s uses Secret %s, which is a service account token; remove it and let the policy have a kubernetes target", u.where, u.secret), true
		}
	}
	return "", "", false
}
