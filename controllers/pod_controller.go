package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/chaperone-dev/chaperone/controllers/broker"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete

// PodReconciler deletes a pod in which another container runs as the sidecar's user: its traffic would not be
// redirected. An image's USER is invisible to admission and read again at every restart; the kubelet reports what a
// container really runs as (KEP-3619).
type PodReconciler struct {
	Client client.Client
	Events events.EventRecorder
}

// Reconcile implements reconcile.Reconciler.
func (r *PodReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	if err := r.Client.Get(ctx, req.NamespacedName, pod); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	container, uid := broker.Impostor(pod)
	if container == "" || !pod.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	r.Events.Eventf(pod, nil, corev1.EventTypeWarning, "SidecarUserTaken", "Delete",
		"container %s runs as uid %d, which is the sidecar's own, so that its connections would not be redirected; the pod is deleted. Build its image with another USER", container, uid)
	log.FromContext(ctx).Info("deleting a pod that runs another container as its sidecar's user", "container", container, "uid", uid)
	// A second is enough for the kubelet to kill what must not go on; the sidecar's spool goes on being sent meanwhile.
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(1))
	return ctrl.Result{}, client.IgnoreNotFound(err)
}
