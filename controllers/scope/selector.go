package scope

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failClosed selects the namespaces by the name label, which the API server itself sets and no tenant can edit. No
// namespaces at all: every namespace has the label, so that its absence selects none.
func failClosed(namespaces []string) *metav1.LabelSelector {
	requirement := metav1.LabelSelectorRequirement{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpDoesNotExist}
	if len(namespaces) > 0 {
		requirement.Operator, requirement.Values = metav1.LabelSelectorOpIn, namespaces
	}
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{requirement}}
}

// elsewhere selects every namespace but the exempt.
func elsewhere(exempt []string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: exempt},
	}}
}

// onPods tells the webhooks whose namespaces this package keeps from those on our own resources, by what their
// rules are for.
func onPods(rules []admissionv1.RuleWithOperations) bool {
	return slices.ContainsFunc(rules, func(r admissionv1.RuleWithOperations) bool {
		return slices.Contains(r.APIGroups, corev1.GroupName) && slices.Contains(r.Resources, "pods")
	})
}

// selector is what the namespaces of one webhook must be; the last value is false for one that keeps its own.
func selector(rules []admissionv1.RuleWithOperations, failure *admissionv1.FailurePolicyType, namespaces, exempt []string) (*metav1.LabelSelector, bool) {
	switch {
	case !onPods(rules):
		return nil, false
	case failure != nil && *failure == admissionv1.Ignore:
		return elsewhere(exempt), true
	}
	return failClosed(namespaces), true
}
