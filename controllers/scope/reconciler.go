package scope

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Options name what is kept. All are required but APIService.
type Options struct {
	// Configurations is the name of both the mutating and the validating configuration.
	Configurations string
	// APIService serves the recordings API; empty: there is none.
	APIService string
	// Exempt namespaces are never selected: kube-system, and the operator's own, which must be able to start.
	Exempt []string
	// Roots is the bundle (PEM) that the API server verifies the operator's serving certificate against.
	Roots func() []byte
	// RootsChanged delivers when the bundle has changed.
	RootsChanged <-chan event.GenericEvent
}

// Reconciler keeps selectors and bundles; there is one object to reconcile, the installation.
//
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,verbs=list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,resourceNames=chaperone,verbs=get;update
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=list;watch
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,resourceNames=v1alpha1.logs.chaperone.dev,verbs=get;update
type Reconciler struct {
	Options
	Client client.Client
}

// Setup registers the reconciler with the manager; it runs on the leader.
func Setup(mgr manager.Manager, o Options) error {
	r := &Reconciler{Options: o, Client: mgr.GetClient()}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.Configurations}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("scope").
		Watches(&v1alpha1.AgentPolicy{}, all).
		Watches(&admissionv1.MutatingWebhookConfiguration{}, all).
		Watches(&admissionv1.ValidatingWebhookConfiguration{}, all).
		Watches(&apiregistrationv1.APIService{}, all).
		WatchesRawSource(source.Channel(o.RootsChanged, all)).
		Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	namespaces, err := r.namespaces(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	name := types.NamespacedName{Name: r.Configurations}
	mutating := &admissionv1.MutatingWebhookConfiguration{}
	if err := r.keep(ctx, name, mutating, func() {
		for i := range mutating.Webhooks {
			w := &mutating.Webhooks[i]
			w.ClientConfig.CABundle = r.Roots()
			if s, ours := selector(w.Rules, w.FailurePolicy, namespaces, r.Exempt); ours {
				w.NamespaceSelector = s
			}
		}
	}); err != nil {
		return reconcile.Result{}, err
	}
	validating := &admissionv1.ValidatingWebhookConfiguration{}
	if err := r.keep(ctx, name, validating, func() {
		for i := range validating.Webhooks {
			w := &validating.Webhooks[i]
			w.ClientConfig.CABundle = r.Roots()
			if s, ours := selector(w.Rules, w.FailurePolicy, namespaces, r.Exempt); ours {
				w.NamespaceSelector = s
			}
		}
	}); err != nil {
		return reconcile.Result{}, err
	}
	if r.APIService == "" {
		return reconcile.Result{}, nil
	}
	service := &apiregistrationv1.APIService{}
	return reconcile.Result{}, r.keep(ctx, types.NamespacedName{Name: r.APIService}, service, func() {
		service.Spec.CABundle = r.Roots()
	})
}

// namespaces that hold a policy, in order, without the exempt.
func (r *Reconciler) namespaces(ctx context.Context) ([]string, error) {
	var policies v1alpha1.AgentPolicyList
	if err := r.Client.List(ctx, &policies, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	var names []string
	for i := range policies.Items {
		if name := policies.Items[i].Namespace; !slices.Contains(r.Exempt, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// keep writes the object if change changes it. A conflict is tried again by the work queue.
func (r *Reconciler) keep(ctx context.Context, name types.NamespacedName, obj client.Object, change func()) error {
	if err := r.Client.Get(ctx, name, obj); err != nil {
		return fmt.Errorf("reading %T %s, which the chart installs: %w", obj, name.Name, err)
	}
	before := obj.DeepCopyObject()
	change()
	if equality.Semantic.DeepEqual(before, obj) {
		return nil
	}
	if err := r.Client.Update(ctx, obj); err != nil {
		return fmt.Errorf("writing %T %s: %w", obj, name.Name, err)
	}
	return nil
}
