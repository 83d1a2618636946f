// Package selection says which policies a pod is under: those whose podSelector matched the labels that the pod was
// admitted with.
package selection

import (
	"encoding/json"
	"fmt"
	"maps"
	"sort"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Select returns the policies whose podSelector matches the labels, ordered by name. A selector that cannot be
// read selects: the API server refuses such policies, so one that is there all the same must not leave its pods
// unprotected.
func Select(policies []v1alpha1.AgentPolicy, set map[string]string) []v1alpha1.AgentPolicy {
	var out []v1alpha1.AgentPolicy
	for i := range policies {
		selector, err := metav1.LabelSelectorAsSelector(&policies[i].Spec.PodSelector)
		if err != nil || selector.Matches(labels.Set(set)) {
			out = append(out, policies[i])
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Labels returns the pod's labels as far as selectors see them at admission: without the one that injection adds.
func Labels(pod *corev1.Pod) map[string]string {
	out := maps.Clone(pod.Labels)
	delete(out, layout.InjectedLabel)
	return out
}

// Bind returns the value of layout.BoundLabelsAnnotation for the pod as it is now. Equal labels give equal values.
func Bind(pod *corev1.Pod) string {
	set := Labels(pod)
	if set == nil {
		set = map[string]string{}
	}
	// A map of strings always marshals, its keys sorted.
	value, err := json.Marshal(set)
	if err != nil {
		return "{}"
	}
	return string(value)
}

// Bound returns the labels that the pod was admitted with. ok is false for a pod that was not injected; an error
// means that the annotation is not what injection writes.
func Bound(pod *corev1.Pod) (set map[string]string, ok bool, err error) {
	value, ok := pod.Annotations[layout.BoundLabelsAnnotation]
	if !ok {
		return nil, false, nil
	}
	if err := json.Unmarshal([]byte(value), &set); err != nil {
		return nil, true, fmt.Errorf("reading annotation %s: %w", layout.BoundLabelsAnnotation, err)
	}
	return set, true, nil
}

// Of returns the policies that an admitted pod is under, by its bound labels where it was injected and by its
// labels where it was not.
func Of(policies []v1alpha1.AgentPolicy, pod *corev1.Pod) ([]v1alpha1.AgentPolicy, error) {
	set, ok, err := Bound(pod)
	if err != nil {
		return nil, err
	}
	if !ok {
		set = Labels(pod)
	}
	return Select(policies, set), nil
}
