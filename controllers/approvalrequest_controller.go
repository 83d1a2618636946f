package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
	"github.com/chaperone-dev/chaperone/controllers/naming"
)

// +kubebuilder:rbac:groups=chaperone.dev,resources=approvalrequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=chaperone.dev,resources=approvalrequests/status,verbs=get;update;patch

// ConditionDecided is true once people have decided, or can no more.
const ConditionDecided = "Decided"

// ApprovalRequestReconciler says in a request's status what its decisions amount to, and deletes requests some time
// after their end. Nothing is released by what it writes.
type ApprovalRequestReconciler struct {
	Client client.Client
	Key    []byte
	// Retention is how long a request is kept after it has expired, decided or not.
	Retention time.Duration
	Events    events.EventRecorder
	Clock     clock.PassiveClock
}

// Reconcile implements reconcile.Reconciler.
func (r *ApprovalRequestReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ar := &v1alpha1.ApprovalRequest{}
	if err := r.Client.Get(ctx, req.NamespacedName, ar); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	outcome := decision.Evaluate(ar, r.Key, now)
	if !now.Before(end(ar, outcome).Add(r.Retention)) {
		err := r.Client.Delete(ctx, ar, client.Preconditions{UID: &ar.UID, ResourceVersion: &ar.ResourceVersion})
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	wanted := requestStatus(ar, outcome, now)
	if !equality.Semantic.DeepEqual(wanted, ar.Status) {
		before := ar.DeepCopy()
		ar.Status = wanted
		// The broker counts uses in the same status: a write that raced with one must fail.
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Client.Status().Patch(ctx, ar, patch); err != nil {
			return again(client.IgnoreNotFound(err))
		}
		if before.Status.Phase != wanted.Phase {
			r.announce(ctx, ar)
		}
	}
	return ctrl.Result{RequeueAfter: untilChange(ar, outcome, now, r.Retention)}, nil
}

// requestStatus is the status that follows from the decisions. It has no side effects.
func requestStatus(ar *v1alpha1.ApprovalRequest, outcome decision.Outcome, now time.Time) v1alpha1.ApprovalRequestStatus {
	out := *ar.Status.DeepCopy()
	out.ObservedGeneration = ar.Generation
	out.Phase, out.Message, out.Approvals = outcome.Phase, outcome.Message, outcome.Approvals
	out.GrantExpiresAt = nil
	if !outcome.GrantExpiresAt.IsZero() {
		until := metav1.NewTime(outcome.GrantExpiresAt.Truncate(time.Second))
		out.GrantExpiresAt = &until
	}
	condition := metav1.Condition{
		Type: ConditionDecided, Status: metav1.ConditionTrue, Reason: string(outcome.Phase), Message: outcome.Message,
		ObservedGeneration: ar.Generation, LastTransitionTime: metav1.NewTime(now),
	}
	if outcome.Phase == v1alpha1.PhasePending {
		condition.Status = metav1.ConditionFalse
	}
	meta.SetStatusCondition(&out.Conditions, condition)
	return out
}

// end is when neither the request nor its grant can release anything any more.
func end(ar *v1alpha1.ApprovalRequest, outcome decision.Outcome) time.Time {
	if g := outcome.GrantExpiresAt; g.After(ar.Spec.ExpiresAt.Time) {
		return g
	}
	return ar.Spec.ExpiresAt.Time
}

// untilChange is when time alone changes something.
func untilChange(ar *v1alpha1.ApprovalRequest, outcome decision.Outcome, now time.Time, retention time.Duration) time.Duration {
	next := end(ar, outcome).Add(retention)
	for _, at := range []time.Time{ar.Spec.ExpiresAt.Time, outcome.GrantExpiresAt} {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	return next.Sub(now) + time.Second
}

func (r *ApprovalRequestReconciler) announce(ctx context.Context, ar *v1alpha1.ApprovalRequest) {
	kind := corev1.EventTypeNormal
	if ar.Status.Phase == v1alpha1.PhaseDenied || ar.Status.Phase == v1alpha1.PhaseExpired {
		kind = corev1.EventTypeWarning
	}
	if ar.Status.Phase == v1alpha1.PhasePending {
		return // the broker has announced the request itself
	}
	note := naming.Note(fmt.Sprintf("approval request %s (rule %s, target %s): %s", ar.Name, ar.Spec.Rule, ar.Spec.Target, ar.Status.Message))
	reason := "Approval" + string(ar.Status.Phase)
	r.Events.Eventf(ar, nil, kind, reason, "Decide", "%s", note)
	pod := &corev1.Pod{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ar.Namespace, Name: ar.Spec.Pod.Name}, pod); err == nil && pod.UID == ar.Spec.Pod.UID {
		r.Events.Eventf(pod, ar, kind, reason, "Decide", "%s", note)
	}
	ap := &v1alpha1.AgentPolicy{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ar.Namespace, Name: ar.Spec.Policy.Name}, ap); err == nil && ap.UID == ar.Spec.Policy.UID {
		r.Events.Eventf(ap, ar, kind, reason, "Decide", "%s", note)
	}
}
