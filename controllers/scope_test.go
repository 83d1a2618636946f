package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func rule(group string, resources ...string) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{Rule: admissionregistrationv1.Rule{APIGroups: []string{group}, Resources: resources}}}
}

func TestScopeOfWebhooks(t *testing.T) {
	own := &metav1.LabelSelector{MatchLabels: map[string]string{"kept": "as it is"}}
	expression := func(operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "kubernetes.io/metadata.name", Operator: operator, Values: values}}}
	}
	for name, c := range map[string]struct {
		namespaces []string
		rules      []admissionregistrationv1.RuleWithOperations
		policy     *admissionregistrationv1.FailurePolicyType
		want       *metav1.LabelSelector
	}{
		"what fails closed is for the namespaces with a policy": {
			namespaces: []string{"a", "b"}, rules: rule("", "pods"), policy: ptr.To(admissionregistrationv1.Fail), want: expression("In", "a", "b"),
		},
		"what names no failure policy fails closed": {
			namespaces: []string{"a"}, rules: rule("", "pods"), want: expression("In", "a"),
		},
		"subresources of pods count": {
			namespaces: []string{"a"}, rules: rule("", "pods/exec"), policy: ptr.To(admissionregistrationv1.Fail), want: expression("In", "a"),
		},
		"without a policy nothing is selected": {
			rules: rule("", "pods"), policy: ptr.To(admissionregistrationv1.Fail), want: expression("DoesNotExist"),
		},
		"what fails open is for everything else": {
			namespaces: []string{"a"}, rules: rule("", "pods"), policy: ptr.To(admissionregistrationv1.Ignore), want: expression("NotIn", "kube-system", "chaperone-system"),
		},
		"our own resources keep their selector": {
			namespaces: []string{"a"}, rules: rule("chaperone.dev", "approvalrequests"), policy: ptr.To(admissionregistrationv1.Fail), want: own,
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Rules: c.rules, FailurePolicy: c.policy, NamespaceSelector: own,
				ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte("old")},
			}}}
			scope{namespaces: c.namespaces, operator: "chaperone-system", roots: []byte("new")}.validating(config)
			if diff := cmp.Diff(c.want, config.Webhooks[0].NamespaceSelector); diff != "" {
				t.Error(diff)
			}
			if string(config.Webhooks[0].ClientConfig.CABundle) != "new" {
				t.Errorf("caBundle %q", config.Webhooks[0].ClientConfig.CABundle)
			}
		})
	}
}

func TestNamespacesOfPoliciesAndInjectedPods(t *testing.T) {
	var all []v1alpha1.AgentPolicy
	for _, ns := range []string{"b", "a", "kube-system", "chaperone-system", "b"} {
		all = append(all, v1alpha1.AgentPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns}})
	}
	running := []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "without-a-policy-any-more"}}, {ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system"}}}
	if diff := cmp.Diff([]string{"a", "b", "without-a-policy-any-more"}, namespacesOf(all, running, "chaperone-system")); diff != "" {
		t.Error(diff)
	}
}
