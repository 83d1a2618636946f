package guard

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

func hostNamespaces(in Input) (reason, message string, refused bool) {
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"hostNetwork", in.Pod.Spec.HostNetwork},
		{"hostPID", in.Pod.Spec.HostPID},
		{"hostIPC", in.Pod.Spec.HostIPC},
	} {
		if f.set {
			return "host-namespaces", "spec." + f.field + " would put the agent outside its sidecar; remove it", true
		}
	}
	return "", "", false
}

func sharedProcesses(in Input) (reason, message string, refused bool) {
	return "shared-processes",
		"spec.shareProcessNamespace would show the agent the sidecar's memory; remove it",
		ptr.Deref(in.Pod.Spec.ShareProcessNamespace, false)
}

var privileged = eachAgent("privileged", func(in Input, a agent) string {
	sc := a.SecurityContext
	switch {
	case sc == nil:
		return ""
	case ptr.Deref(sc.Privileged, false):
		return "is privileged, which undoes the sidecar's redirect; remove securityContext.privileged"
	case sc.WindowsOptions != nil && ptr.Deref(sc.WindowsOptions.HostProcess, false):
		return "is a Windows host process; remove securityContext.windowsOptions.hostProcess"
	}
	return ""
})

var capabilities = eachAgent("capabilities", func(in Input, a agent) string {
	var have *corev1.Capabilities
	if a.SecurityContext != nil {
		have = a.SecurityContext.Capabilities
	}
	if have == nil || !slices.ContainsFunc(have.Drop, func(c corev1.Capability) bool { return strings.EqualFold(string(c), "ALL") }) {
		return "does not drop ALL capabilities as it was injected; exclude it from the webhook that changed it"
	}
	for _, c := range have.Add {
		if !slices.Contains(in.restricted.Capabilities, c) {
			return fmt.Sprintf("adds capability %s; the policies %s leave agents %s: remove it from securityContext.capabilities.add",
				c, names(in), orNone(in.restricted.Capabilities))
		}
	}
	return ""
})

var escalation = eachAgent("privilege-escalation", func(in Input, a agent) string {
	if a.SecurityContext == nil || ptr.Deref(a.SecurityContext.AllowPrivilegeEscalation, true) {
		return "allows privilege escalation, by which a set-uid file reaches the sidecar's uid; set securityContext.allowPrivilegeEscalation to false"
	}
	return ""
})

var seccomp = eachAgent("seccomp", func(in Input, a agent) string {
	if a.SecurityContext == nil || a.SecurityContext.SeccompProfile == nil ||
		a.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		return "has not the seccomp profile RuntimeDefault that it was injected with; exclude it from the webhook that changed it"
	}
	return ""
})

var procMount = eachAgent("proc-mount", func(in Input, a agent) string {
	if a.SecurityContext != nil && ptr.Deref(a.SecurityContext.ProcMount, corev1.DefaultProcMount) != corev1.DefaultProcMount {
		return "asks for an unmasked /proc; remove securityContext.procMount"
	}
	return ""
})

var reservedNames = eachAgent("reserved-name", func(in Input, a agent) string {
	if layout.Ours(a.Name) {
		return "has a name that is reserved for the sidecar; rename it"
	}
	return ""
})

func ourUID(in Input) (reason, message string, refused bool) {
	const why = "is the sidecar's uid, whose traffic is not redirected; choose another"
	uid, ok := inject.UID(in.Pod)
	if !ok {
		return "", "", false // injected says so
	}
	if sc := in.Pod.Spec.SecurityContext; sc != nil && sc.RunAsUser != nil && *sc.RunAsUser == uid {
		return "sidecar-uid", fmt.Sprintf("spec.securityContext.runAsUser %d %s", uid, why), true
	}
	for _, a := range in.agents {
		if a.SecurityContext != nil && a.SecurityContext.RunAsUser != nil && *a.SecurityContext.RunAsUser == uid {
			return "sidecar-uid", fmt.Sprintf("%s: securityContext.runAsUser %d %s", a.what, uid, why), true
		}
	}
	return "", "", false
}

// pinnedImages: an image's USER is invisible here and read again at every restart, so where the policy asks for it
// the image must be fixed by digest or the user by the pod.
var pinnedImages = eachAgent("pinned-images", func(in Input, a agent) string {
	if !in.restricted.PinnedImages || strings.Contains(a.Image, "@sha256:") || strings.Contains(a.Image, "@sha512:") {
		return ""
	}
	if a.SecurityContext != nil && a.SecurityContext.RunAsUser != nil {
		return ""
	}
	if sc := in.Pod.Spec.SecurityContext; sc != nil && sc.RunAsUser != nil {
		return ""
	}
	return fmt.Sprintf("has image %s without a digest and no runAsUser, and the policies %s require pinned images; name the image by its digest, or set securityContext.runAsUser",
		a.Image, names(in))
})

// names are the policies that the pod is under.
func names(in Input) string {
	var out []string
	for i := range in.Selected {
		out = append(out, in.Selected[i].Namespace+"/"+in.Selected[i].Name)
	}
	return strings.Join(out, ", ")
}

func orNone(in []corev1.Capability) string {
	if len(in) == 0 {
		return "none"
	}
	out := make([]string, len(in))
	for i := range in {
		out[i] = string(in[i])
	}
	return strings.Join(out, ", ")
}
