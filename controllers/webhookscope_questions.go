package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Registered tells whether the API server can verify the operator: every entry carries the root of now. Until then a
// replica is not ready, because the first policy would be refused.
func (r *WebhookScopeReconciler) Registered(ctx context.Context) error {
	roots := r.Roots()
	check := func(kind string, bundle []byte) error {
		if !bytes.Equal(bundle, roots) {
			return fmt.Errorf("%s does not have the operator's root yet", kind)
		}
		return nil
	}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.Configurations}, mutating); err != nil {
		return fmt.Errorf("mutating webhook configuration %s: %w", r.Configurations, err)
	}
	for i := range mutating.Webhooks {
		if err := check("mutating webhook "+mutating.Webhooks[i].Name, mutating.Webhooks[i].ClientConfig.CABundle); err != nil {
			return err
		}
	}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.Configurations}, validating); err != nil {
		return fmt.Errorf("validating webhook configuration %s: %w", r.Configurations, err)
	}
	for i := range validating.Webhooks {
		if err := check("validating webhook "+validating.Webhooks[i].Name, validating.Webhooks[i].ClientConfig.CABundle); err != nil {
			return err
		}
	}
	if r.APIService == "" {
		return nil
	}
	service := &apiregistrationv1.APIService{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.APIService}, service); err != nil {
		return fmt.Errorf("APIService %s: %w", r.APIService, err)
	}
	return check("APIService "+r.APIService, service.Spec.CABundle)
}

// Selects tells whether a fail-closed entry about pods selects the namespace; used to say so in a policy's status.
func (r *WebhookScopeReconciler) Selects(ctx context.Context, namespace string) error {
	if exempt(namespace, r.OperatorNamespace) {
		return fmt.Errorf("namespace %s is never injected, because the cluster and the operator itself depend on it; put agents elsewhere", namespace)
	}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.Configurations}, mutating); err != nil {
		return fmt.Errorf("mutating webhook configuration %s: %w; install the operator's webhooks", r.Configurations, err)
	}
	for i := range mutating.Webhooks {
		w := &mutating.Webhooks[i]
		if !slices.ContainsFunc(w.Rules, aboutPods) || w.FailurePolicy != nil && *w.FailurePolicy == admissionregistrationv1.Ignore {
			continue
		}
		selector := w.NamespaceSelector
		if selector == nil {
			return nil
		}
		for _, m := range selector.MatchExpressions {
			if m.Key == corev1.LabelMetadataName && m.Operator == metav1.LabelSelectorOpIn && slices.Contains(m.Values, namespace) {
				return nil
			}
		}
	}
	return fmt.Errorf("the webhooks do not select namespace %s yet", namespace)
}
