package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,verbs=get;list;watch;update
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=get;list;watch;update

// WebhookScopeReconciler keeps up what the API server knows of the operator's endpoints: for which namespaces it must
// ask the webhooks that fail closed, and with which root it verifies them.
type WebhookScopeReconciler struct {
	Client client.Client
	// Configurations is the name of both the mutating and the validating webhook configuration.
	Configurations string
	// APIService is the name of the recordings API's; empty for none.
	APIService string
	// OperatorNamespace is never selected.
	OperatorNamespace string
	// Roots is the PEM bundle.
	Roots func() []byte
}

// Reconcile implements reconcile.Reconciler; there is one request, whatever has changed.
func (r *WebhookScopeReconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	policies := &v1alpha1.AgentPolicyList{}
	if err := r.Client.List(ctx, policies); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing policies: %w", err)
	}
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.HasLabels{layout.InjectedLabel}, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing injected pods: %w", err)
	}
	s := scope{namespaces: namespacesOf(policies.Items, pods.Items, r.OperatorNamespace), operator: r.OperatorNamespace, roots: r.Roots()}
	if len(s.roots) == 0 {
		return ctrl.Result{}, fmt.Errorf("keeping the webhooks' scope: there is no root certificate yet")
	}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: r.Configurations}}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: r.Configurations}}
	err := errors.Join(
		r.keep(ctx, mutating, func() { s.mutating(mutating) }),
		r.keep(ctx, validating, func() { s.validating(validating) }),
	)
	if r.APIService != "" {
		service := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: r.APIService}}
		err = errors.Join(err, r.keep(ctx, service, func() { service.Spec.CABundle = s.roots }))
	}
	return again(err)
}

// again turns a write that met another's into another look, a moment later, with what the cache has then.
func again(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	return ctrl.Result{}, err
}

// keep reads the object, lets want change it, and writes it if that changed anything.
func (r *WebhookScopeReconciler) keep(ctx context.Context, obj client.Object, want func()) error {
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return fmt.Errorf("reading what the API server knows of the operator (%T %s): %w", obj, obj.GetName(), err)
	}
	before := obj.DeepCopyObject()
	want()
	if equality.Semantic.DeepEqual(before, obj) {
		return nil
	}
	if err := r.Client.Update(ctx, obj); err != nil {
		return fmt.Errorf("updating %T %s: %w", obj, obj.GetName(), err)
	}
	log.FromContext(ctx).Info("kept up what the API server knows of the operator", "object", fmt.Sprintf("%T", obj), "name", obj.GetName())
	return nil
}

// namespacesOf returns the namespaces that hold a policy or, after their last policy went, still run injected pods,
// in order, without those that are never selected.
func namespacesOf(policies []v1alpha1.AgentPolicy, injected []corev1.Pod, operator string) []string {
	var out []string
	for i := range policies {
		out = append(out, policies[i].Namespace)
	}
	for i := range injected {
		out = append(out, injected[i].Namespace)
	}
	out = slices.DeleteFunc(out, func(namespace string) bool { return exempt(namespace, operator) })
	slices.Sort(out)
	return slices.Compact(out)
}

// exempt namespaces hold what must be able to start without the operator, and the operator itself.
func exempt(namespace, operator string) bool {
	return namespace == metav1.NamespaceSystem || namespace == operator
}

// scope is what webhooks are for.
type scope struct {
	namespaces []string
	operator   string
	roots      []byte
}

func (s scope) mutating(c *admissionregistrationv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		s.client(&w.ClientConfig)
		if selector := s.selector(w.Rules, w.FailurePolicy); selector != nil {
			w.NamespaceSelector = selector
		}
	}
}

func (s scope) validating(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		s.client(&w.ClientConfig)
		if selector := s.selector(w.Rules, w.FailurePolicy); selector != nil {
			w.NamespaceSelector = selector
		}
	}
}

func (s scope) client(c *admissionregistrationv1.WebhookClientConfig) {
	if !bytes.Equal(c.CABundle, s.roots) {
		c.CABundle = s.roots
	}
}

// selector is by the API server's own label, which no tenant can edit. Entries that are not about pods keep theirs:
// nil.
func (s scope) selector(rules []admissionregistrationv1.RuleWithOperations, policy *admissionregistrationv1.FailurePolicyType) *metav1.LabelSelector {
	if !slices.ContainsFunc(rules, aboutPods) {
		return nil
	}
	requirement := metav1.LabelSelectorRequirement{Key: corev1.LabelMetadataName}
	switch {
	case policy != nil && *policy == admissionregistrationv1.Ignore:
		requirement.Operator, requirement.Values = metav1.LabelSelectorOpNotIn, []string{metav1.NamespaceSystem, s.operator}
	case len(s.namespaces) == 0:
		// Every namespace has the label (KEP-2161), so this selects none.
		requirement.Operator = metav1.LabelSelectorOpDoesNotExist
	default:
		requirement.Operator, requirement.Values = metav1.LabelSelectorOpIn, s.namespaces
	}
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{requirement}}
}

func aboutPods(r admissionregistrationv1.RuleWithOperations) bool {
	core := slices.Contains(r.APIGroups, "") || slices.Contains(r.APIGroups, "*")
	return core && slices.ContainsFunc(r.Resources, func(resource string) bool {
		return resource == "pods" || resource == "*" || resource == "*/*" || len(resource) > 5 && resource[:5] == "pods/"
	})
}
