package guard

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/seal"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// Marked reports whether the pod says that it was injected.
func Marked(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[layout.InjectedAnnotation]
	return ok
}

// injected: what starts before the sidecar is not behind it.
func injected(in Input) (reason, message string, refused bool) {
	reason = "injection"
	if !Marked(in.Pod) {
		return reason, fmt.Sprintf("is selected by agent policies %s and was not injected: a policy may be newer than the pod, or a webhook took the sidecar out; create the pod again",
			names(in)), true
	}
	init := in.Pod.Spec.InitContainers
	if len(init) < 2 || init[0].Name != layout.RedirectContainer || init[1].Name != layout.SidecarContainer {
		return reason, fmt.Sprintf("init containers %s and %s must come first, and another webhook put its own before them; give that webhook reinvocationPolicy Never, or keep the pod out of it",
			layout.RedirectContainer, layout.SidecarContainer), true
	}
	return reason, "", false
}

func sealed(in Input) (reason, message string, refused bool) {
	if _, err := seal.Verify(in.Pod, in.Key); err != nil {
		return "seal", fmt.Sprintf("%v: another webhook or a person changed them; keep chaperone's containers and volumes out of it", err), true
	}
	return "", "", false
}

func boundLabels(in Input) (reason, message string, refused bool) {
	return "bound-labels",
		"labels were changed after injection by another webhook, so the pod would be judged by labels that it does not have; keep the pod out of that webhook",
		in.Pod.Annotations[layout.BoundLabelsAnnotation] != selection.Bind(in.Pod)
}

var marks = []string{layout.InjectedAnnotation, layout.BoundLabelsAnnotation, layout.SealAnnotation}

func notMarked(in Input) (reason, message string, refused bool) {
	for _, key := range marks {
		if _, ok := in.Pod.Annotations[key]; ok {
			return "marks", fmt.Sprintf("annotation %s is for injected pods alone, and no agent policy selects this one; remove it", key), true
		}
	}
	_, ok := in.Pod.Labels[layout.InjectedLabel]
	return "marks", fmt.Sprintf("label %s is for injected pods alone, and no agent policy selects this one; remove it", layout.InjectedLabel), ok
}

func marksUnchanged(in Input) (reason, message string, refused bool) {
	for _, key := range marks {
		was, had := in.Old.Annotations[key]
		is, has := in.Pod.Annotations[key]
		if was != is || had != has {
			return "marks", fmt.Sprintf("annotation %s cannot be changed; create the pod again", key), true
		}
	}
	was, had := in.Old.Labels[layout.InjectedLabel]
	is, has := in.Pod.Labels[layout.InjectedLabel]
	return "marks", fmt.Sprintf("label %s cannot be changed; create the pod again", layout.InjectedLabel), was != is || had != has
}

// containersUnchanged: the API lets the image and the resources of a running pod's containers be changed, ours
// must not be.
func containersUnchanged(in Input) (reason, message string, refused bool) {
	if !Marked(in.Old) {
		return "", "", false
	}
	was, is := ours(in.Old), ours(in.Pod)
	for name, old := range was {
		now, ok := is[name]
		switch {
		case !ok || now.Image != old.Image:
			return "sidecar-image", fmt.Sprintf("the image of container %s is the operator's to choose; create the pod again to have a newer one", name), true
		case !apiequality.Semantic.DeepEqual(old, now):
			return "sidecar-changed", fmt.Sprintf("container %s cannot be changed, its resources included; set them in the operator's configuration and create the pod again", name), true
		}
	}
	return "", "", false
}

func ours(pod *corev1.Pod) map[string]corev1.Container {
	out := map[string]corev1.Container{}
	for _, c := range pod.Spec.InitContainers {
		if layout.Ours(c.Name) {
			out[c.Name] = c
		}
	}
	return out
}

func ephemeralTarget(in Input) (reason, message string, refused bool) {
	for _, a := range in.agents {
		if a.ephemeral && layout.Ours(a.target) {
			return "sidecar-target", fmt.Sprintf("%s targets container %s, whose memory holds the credentials; target another with --target", a.what, a.target), true
		}
	}
	return "", "", false
}

// UID is the sidecar's uid, for the check that no other container of a running pod shows it in its status.
func UID(pod *corev1.Pod) (int64, bool) { return inject.UID(pod) }
