package intruder

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Reconciler looks at what the kubelet reports of running containers (KEP-3619: containerStatuses[].user). An
// image's USER is invisible to admission, and read again at every restart of a container.
//
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
type Reconciler struct {
	Client client.Client
	Events events.EventRecorder
}

// Setup registers the reconciler with the manager; it runs on the leader.
func Setup(mgr manager.Manager) error {
	r := &Reconciler{Client: mgr.GetClient(), Events: mgr.GetEventRecorder("chaperone")}
	injected := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetLabels()[layout.InjectedLabel] != "" })
	return ctrl.NewControllerManagedBy(mgr).Named("intruder").For(&corev1.Pod{}).WithEventFilter(injected).Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	if err := r.Client.Get(ctx, request.NamespacedName, pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	container, uid := Find(pod)
	if container == "" || pod.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	// Every moment that it runs it is not redirected, so that it is not asked to end in its own time.
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(0))
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("deleting pod %s, whose container %s runs as the sidecar's uid %d: %w", request, container, uid, err)
	}
	r.Events.Eventf(pod, nil, corev1.EventTypeWarning, "SidecarUIDTaken", "Delete",
		"container %s runs as uid %d, which is the sidecar's own and is not redirected: the pod was deleted; set runAsUser, or an image with another USER", container, uid)
	return reconcile.Result{}, nil
}

// Find returns the container that runs as the sidecar's uid and is not ours, or "".
func Find(pod *corev1.Pod) (container string, uid int64) {
	ours := sidecarUID(pod)
	if ours == nil {
		return "", 0
	}
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for _, s := range statuses {
			if layout.Ours(s.Name) || s.User == nil || s.User.Linux == nil {
				continue
			}
			if s.User.Linux.UID == *ours {
				return s.Name, *ours
			}
		}
	}
	return "", 0
}

// sidecarUID is the uid that the webhook gave the sidecar.
func sidecarUID(pod *corev1.Pod) *int64 {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == layout.SidecarContainer && c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			return ptr.To(*c.SecurityContext.RunAsUser)
		}
	}
	return nil
}
