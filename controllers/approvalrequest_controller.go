package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// settle is how long a command that waits has the first word about its grant. A decision's time is in whole seconds, so
// that it is one second more than it looks at the least: far above what a release takes.
const settle = 3 * time.Second

// ApprovalRequestReconciler says in a request's status what its decisions amount to, and deletes requests some time
// after their end. Nothing is released by what it writes.
type ApprovalRequestReconciler struct {
	Client client.Client
	Key    []byte
	// Retention is how long a request is kept after it has expired, decided or not.
	Retention time.Duration
	// Waited tells whether a command waits for the request at this replica. Such a command uses its grant at once, and
	// a status written at the same time would make it try again. Nil where no broker runs beside.
	Waited func(types.NamespacedName) bool
	Events events.EventRecorder
	Clock  clock.PassiveClock
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
		if wait := r.yields(ar, outcome, now); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
		before := ar.DeepCopy()
		ar.Status = wanted
		// The broker counts uses in the same status: a write that raced with one must fail.
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Client.Status().Patch(ctx, ar, patch); err != nil {
			return again(client.IgnoreNotFound(err))
		}
		if news(&before.Status, &wanted) {
			r.announce(ctx, ar)
		}
	}
	return ctrl.Result{RequeueAfter: untilChange(ar, outcome, now, r.Retention)}, nil
}

// yields is how long the status has to wait for a command that is about to use the grant and writes it then.
func (r *ApprovalRequestReconciler) yields(ar *v1alpha1.ApprovalRequest, outcome decision.Outcome, now time.Time) time.Duration {
	if outcome.Phase != v1alpha1.PhaseApproved || ar.Status.Uses > 0 || r.Waited == nil || !r.Waited(client.ObjectKeyFromObject(ar)) {
		return 0
	}
	last := ar.CreationTimestamp.Time
	for i := range ar.Spec.Decisions {
		if at := ar.Spec.Decisions[i].Time.Time; at.After(last) {
			last = at
		}
	}
	return last.Add(settle).Sub(now)
}

// news tells whether people hear of a status: of another phase, and of a decision whose grant was used before it was
// said.
func news(before, after *v1alpha1.ApprovalRequestStatus) bool {
	decided := func(s *v1alpha1.ApprovalRequestStatus) bool {
		return meta.IsStatusConditionTrue(s.Conditions, ConditionDecided)
	}
	return before.Phase != after.Phase || !decided(before) && decided(after)
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
	if ar.Status.Phase == v1alpha1.PhaseUsed {
		reason = "Approval" + string(v1alpha1.PhaseApproved) // and the message says by whom, and that it was used
	}
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
