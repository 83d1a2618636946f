package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/seal"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// Inject returns the pod as it has to be under the policies, which are those that select it; the pod given is not
// changed and names its namespace. What already looks like ours in it is taken out and made anew, whoever put it
// there, and everything else is restricted again: shown its own result after other webhooks have been at it, it
// mends what they did and changes nothing else. Only a seal younger than SealWindow keeps its uid.
//
// Without policies the pod comes back as it is, but for what looks like ours. An error that is a *Refusal is the
// author's to mend; any other is the operator's.
func Inject(pod *corev1.Pod, policies []v1alpha1.AgentPolicy, o Options) (*corev1.Pod, error) {
	out := pod.DeepCopy()
	if len(policies) == 0 {
		if resembles(out) {
			strip(out)
		}
		return out, nil
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if err := refuse(out); err != nil {
		return nil, err
	}
	uid, sealed := keptUID(out, o)
	kube := usesServiceAccount(out)
	previous := out.Annotations[layout.SealAnnotation]
	before := slices.Clone(out.Spec.InitContainers)
	strip(out)
	if !sealed {
		var err error
		if uid, err = drawUID(out, o); err != nil {
			return nil, err
		}
	}
	withoutServiceAccount(out)
	allowed := Restrictions(policies)
	for _, list := range [][]corev1.Container{out.Spec.InitContainers, out.Spec.Containers} {
		for i := range list {
			protect(&list[i], allowed, kube)
		}
	}
	ours := []corev1.Container{redirect(uid, o), sidecar(uid, kube, o)}
	keepOpen(ours, before, sealed)
	out.Spec.InitContainers = append(ours, out.Spec.InitContainers...)
	out.Spec.Volumes = append(volumes(kube, o), out.Spec.Volumes...)
	mark(out)
	if sealed && previous != "" {
		// The seal that came in still holds if nothing that it covers had to be mended.
		out.Annotations[layout.SealAnnotation] = previous
		if _, err := seal.Verify(out, o.Key); err == nil {
			return out, nil
		}
	}
	value, err := seal.Make(out, o.Key, o.Now)
	if err != nil {
		return nil, err
	}
	out.Annotations[layout.SealAnnotation] = value
	return out, nil
}

// keepOpen takes over from the containers as they came back what the seal leaves open: the API server's own plugins
// write there between two invocations (AlwaysPullImages, LimitRanger) and check later that it stands. Where the seal
// does not hold, whoever wrote there is not known, and only the stricter pull policy is taken.
func keepOpen(ours, before []corev1.Container, sealed bool) {
	for i := range ours {
		for j := range before {
			if before[j].Name != ours[i].Name {
				continue
			}
			if sealed || before[j].ImagePullPolicy == corev1.PullAlways {
				ours[i].ImagePullPolicy = before[j].ImagePullPolicy
			}
			if sealed {
				ours[i].Resources = before[j].Resources
			}
		}
	}
}

// mark writes the annotations and the label that say what was done.
func mark(pod *corev1.Pod) {
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Annotations[layout.BoundLabelsAnnotation] = selection.Bind(pod)
	pod.Annotations[layout.InjectedAnnotation] = Version
	pod.Labels[layout.InjectedLabel] = Version
}

// keptUID returns the uid that this webhook gave the pod moments ago, in the same admission.
func keptUID(pod *corev1.Pod, o Options) (int64, bool) {
	uid, ok := UID(pod)
	if !ok {
		return 0, false
	}
	at, err := seal.Verify(pod, o.Key)
	if err != nil || o.Now.Sub(at) > SealWindow || at.Sub(o.Now) > SealWindow {
		return 0, false
	}
	first, count := uidRange(pod)
	return uid, uid >= first && uid < first+count && !usedIDs(pod)[uid]
}

// refuse names what no injection could mend.
func refuse(pod *corev1.Pod) error {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return &Refusal{"a Windows pod cannot be put behind the sidecar; keep it out of the policy's podSelector"}
	}
	for i := range pod.Spec.Containers {
		if name := pod.Spec.Containers[i].Name; layout.Ours(name) {
			return &Refusal{fmt.Sprintf("the container name %s is reserved for the sidecar; rename the container", name)}
		}
	}
	if resembles(pod) {
		return nil
	}
	for i := range pod.Spec.InitContainers {
		if name := pod.Spec.InitContainers[i].Name; layout.Ours(name) {
			return &Refusal{fmt.Sprintf("the init container name %s is reserved for the sidecar; rename the container", name)}
		}
	}
	for i := range pod.Spec.Volumes {
		if name := pod.Spec.Volumes[i].Name; layout.OurVolume(name) {
			return &Refusal{fmt.Sprintf("the volume name %s is reserved for the sidecar; rename the volume", name)}
		}
	}
	return nil
}
