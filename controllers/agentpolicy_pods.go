package controllers

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// Labels of Pod Security admission (KEP-2579).
const (
	podSecurityEnforce = "pod-security.kubernetes.io/enforce"
	podSecurityWarn    = "pod-security.kubernetes.io/warn"
)

// enforcedLevel returns the Pod Security level that refuses NET_ADMIN in this namespace, "" if none does.
func enforcedLevel(ns *corev1.Namespace) string {
	switch level := ns.Labels[podSecurityEnforce]; level {
	case "baseline", "restricted":
		return level
	}
	return ""
}

// counts tells whether the pod runs or will run.
func counts(p *corev1.Pod) bool {
	return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && p.DeletionTimestamp.IsZero()
}

// injected tells whether the pod carries the sidecar. Whether it is the webhook's own is the broker's to check, which
// gives nothing to another.
func injected(p *corev1.Pod) bool {
	if p.Annotations[layout.SealAnnotation] == "" {
		return false
	}
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == layout.SidecarContainer {
			return true
		}
	}
	return false
}

// selects tells whether the policy is for the pod, by the labels that it was admitted with.
func selects(ap *v1alpha1.AgentPolicy, p *corev1.Pod) bool {
	bound, err := selection.Of([]v1alpha1.AgentPolicy{*ap}, p)
	return err == nil && len(bound) == 1
}

// meet tells whether two policies are for the same pod: one that exists, or any that one of them selects because the
// other asks for no more than it does.
func meet(a, b *v1alpha1.AgentPolicy, pods []corev1.Pod) bool {
	if implies(&a.Spec.PodSelector, &b.Spec.PodSelector) || implies(&b.Spec.PodSelector, &a.Spec.PodSelector) {
		return true
	}
	for i := range pods {
		if p := &pods[i]; counts(p) && selects(a, p) && selects(b, p) {
			return true
		}
	}
	return false
}

// implies tells whether whatever a selects is selected by b too, as far as their requirements read alike.
func implies(a, b *metav1.LabelSelector) bool {
	selectorA, errA := metav1.LabelSelectorAsSelector(a)
	selectorB, errB := metav1.LabelSelectorAsSelector(b)
	if errA != nil || errB != nil {
		return true // an unreadable selector selects everything
	}
	of := func(s labels.Selector) map[string]bool {
		out := map[string]bool{}
		requirements, _ := s.Requirements()
		for _, r := range requirements {
			out[r.String()] = true
		}
		return out
	}
	have := of(selectorA)
	for r := range of(selectorB) {
		if !have[r] {
			return false
		}
	}
	return true
}

// missingPods is how many pods a replica set of the policy's could not make because Pod Security refused them.
func missingPods(ap *v1alpha1.AgentPolicy, rs *appsv1.ReplicaSet) int32 {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: rs.Spec.Template.Labels}}
	if rs.Spec.Replicas == nil || *rs.Spec.Replicas <= rs.Status.Replicas || !selects(ap, pod) {
		return 0
	}
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue && strings.Contains(c.Message, "violates PodSecurity") {
			return *rs.Spec.Replicas - rs.Status.Replicas
		}
	}
	return 0
}
