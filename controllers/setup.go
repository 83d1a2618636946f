package controllers

import (
	"context"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// gather is how long what happens to a policy's pods is collected before its status is looked at: a rollout of
// hundreds of pods is a handful of writes.
const gather = 500 * time.Millisecond

// SetupWithManager registers the reconciler. Changes of presence are of this replica's own connections.
func (r *AgentPolicyReconciler) SetupWithManager(mgr ctrl.Manager, sidecars *presence.Registry) error {
	changes := make(chan event.GenericEvent)
	if err := mgr.Add(leading(func(ctx context.Context) error { return forward(ctx, sidecars, changes) })); err != nil {
		return err
	}
	inNamespace := later(func(ctx context.Context, obj client.Object) []reconcile.Request {
		return r.policiesOf(ctx, obj.GetNamespace())
	})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.AgentPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// Another policy of the namespace may contradict this one, or no longer.
		Watches(&v1alpha1.AgentPolicy{}, inNamespace, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, inNamespace, builder.WithPredicates(podChanged)).
		Watches(&corev1.Namespace{}, later(func(ctx context.Context, obj client.Object) []reconcile.Request {
			return r.policiesOf(ctx, obj.GetName())
		}), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, later(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return r.policiesOf(ctx, "")
		})).
		WatchesRawSource(source.Channel(changes, inNamespace)).
		Complete(r)
}

// policiesOf returns the policies of a namespace, or all.
func (r *AgentPolicyReconciler) policiesOf(ctx context.Context, namespace string) []reconcile.Request {
	list := &v1alpha1.AgentPolicyList{}
	if err := r.Client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing policies")
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// podChanged leaves out what the kubelet reports and no condition follows from.
var podChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, okBefore := e.ObjectOld.(*corev1.Pod)
	after, okAfter := e.ObjectNew.(*corev1.Pod)
	if !okBefore || !okAfter {
		return true
	}
	_, ranBefore := sidecarSince(before)
	_, runsNow := sidecarSince(after)
	return counts(before) != counts(after) || ranBefore != runsNow || !equality.Semantic.DeepEqual(before.Labels, after.Labels)
}}

// forward tells the policies' reconciler of the namespaces whose sidecars have come, gone or taken up a policy.
func forward(ctx context.Context, sidecars *presence.Registry, to chan<- event.GenericEvent) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sidecars.Changed():
		}
		for _, namespace := range sidecars.Drain() {
			ap := &v1alpha1.AgentPolicy{}
			ap.Namespace = namespace
			select {
			case <-ctx.Done():
				return nil
			case to <- event.GenericEvent{Object: ap}:
			}
		}
	}
}

// SetupWithManager registers the reconciler. rootsChanged asks for another look.
func (r *WebhookScopeReconciler) SetupWithManager(mgr ctrl.Manager, rootsChanged <-chan event.GenericEvent) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: r.Configurations}}}
	})
	ours := builder.WithPredicates(predicate.NewPredicateFuncs(func(obj client.Object) bool { return obj.GetName() == r.Configurations }))
	b := ctrl.NewControllerManagedBy(mgr).Named("webhookscope").
		// A policy's namespace never changes; its creation and its end are all that matters.
		Watches(&v1alpha1.AgentPolicy{}, one, builder.WithPredicates(predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }})).
		// A namespace stays guarded until its last injected pod is gone.
		Watches(&corev1.Pod{}, one, builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(e event.CreateEvent) bool { return e.Object.GetLabels()[layout.InjectedLabel] != "" },
			DeleteFunc: func(e event.DeleteEvent) bool { return e.Object.GetLabels()[layout.InjectedLabel] != "" },
			UpdateFunc: func(event.UpdateEvent) bool { return false },
		})).
		Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, one, ours).
		Watches(&admissionregistrationv1.ValidatingWebhookConfiguration{}, one, ours).
		WatchesRawSource(source.Channel(rootsChanged, one))
	if r.APIService != "" {
		b = b.Watches(&apiregistrationv1.APIService{}, one, builder.WithPredicates(predicate.NewPredicateFuncs(func(obj client.Object) bool {
			return obj.GetName() == r.APIService
		})))
	}
	return b.Complete(r)
}

// SetupWithManager registers the reconciler.
func (r *ApprovalRequestReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.ApprovalRequest{}).Complete(r)
}

// SetupWithManager registers the reconciler.
func (r *SessionRecordingReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.SessionRecording{}).Complete(r)
}

// SetupWithManager registers the reconciler.
func (r *PodReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(func(obj client.Object) bool {
		pod, ok := obj.(*corev1.Pod)
		return ok && injected(pod)
	}))).Complete(r)
}

// leading runs on the leader alone, as reconcilers do.
func leading(run func(context.Context) error) manager.Runnable { return manager.RunnableFunc(run) }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// later maps events to requests that wait a moment for others like them.
func later(requests handler.MapFunc) handler.EventHandler {
	add := func(ctx context.Context, obj client.Object, q queue) {
		for _, r := range requests(ctx, obj) {
			q.AddAfter(r, gather)
		}
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, e.Object, q) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, e.ObjectNew, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { add(ctx, e.Object, q) },
	}
}

// Options are what all reconcilers need.
type Options struct {
	Policies   *AgentPolicyReconciler
	Sidecars   *presence.Registry
	Scope      *WebhookScopeReconciler
	Roots      <-chan event.GenericEvent
	Requests   *ApprovalRequestReconciler
	Recordings *SessionRecordingReconciler
	Retention  *Retention
	Pods       *PodReconciler
	// Notifications is nil where no sink is configured.
	Notifications *NotificationReconciler
}

// Setup registers them all.
func Setup(mgr ctrl.Manager, o Options) error {
	parts := map[string]func() error{
		"policies":      func() error { return o.Policies.SetupWithManager(mgr, o.Sidecars) },
		"webhook scope": func() error { return o.Scope.SetupWithManager(mgr, o.Roots) },
		"requests":      func() error { return o.Requests.SetupWithManager(mgr) },
		"recordings":    func() error { return o.Recordings.SetupWithManager(mgr) },
		"retention":     func() error { return mgr.Add(o.Retention) },
		"pods":          func() error { return o.Pods.SetupWithManager(mgr) },
	}
	if o.Notifications != nil {
		parts["notifications"] = func() error { return o.Notifications.SetupWithManager(mgr) }
	}
	for name, setup := range parts {
		if err := setup(); err != nil {
			return fmt.Errorf("setting up the %s controller: %w", name, err)
		}
	}
	return nil
}
