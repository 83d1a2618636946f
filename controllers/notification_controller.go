package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/apply"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/controllers/notification"
	"github.com/chaperone-dev/chaperone/controllers/reference"
)

// ConditionNotified says of a request whether the sink has taken the notification of its phase, which is the
// condition's reason.
const ConditionNotified = "Notified"

const (
	// Retries begin after a second and double to five minutes: an approver is told soon after a sink is back, and one
	// that is down for a day is asked some three hundred times.
	notifyAfter, notifyAtMost = time.Second, 5 * time.Minute
	// notifyAtOnce is how many deliveries may be under way: a sink that hangs holds back others, never approvals.
	notifyAtOnce = 4
)

// NotificationReconciler tells the sink about every phase of a request. It writes one condition that nothing reads
// but itself, so that a new leader knows what has been sent.
type NotificationReconciler struct {
	Client client.Client
	Sink   *notification.Sink
	// Source is the CloudEvents source: which cluster this is.
	Source string
	Events events.EventRecorder
	Clock  clock.PassiveClock

	// told has the id of the event that the sink took last, by request: the cache may not have its condition yet.
	told sync.Map
}

// SetupWithManager registers the reconciler, on a queue of its own.
func (r *NotificationReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("notification").For(&v1alpha1.ApprovalRequest{}).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: notifyAtOnce,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](notifyAfter, notifyAtMost),
		}).Complete(r)
}

// Reconcile implements reconcile.Reconciler.
func (r *NotificationReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ar := &v1alpha1.ApprovalRequest{}
	if err := r.Client.Get(ctx, req.NamespacedName, ar); err != nil {
		if apierrors.IsNotFound(err) {
			r.told.Delete(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if !unsent(ar) {
		return ctrl.Result{}, nil
	}
	event := notification.Of(ar, r.Source, phaseSince(ar))
	var sent error
	if last, ok := r.told.Load(req.NamespacedName); !ok || last != event.ID {
		sent = r.Sink.Send(ctx, event)
	}
	if sent == nil {
		r.told.Store(req.NamespacedName, event.ID)
	}
	condition := metav1.Condition{
		Type: ConditionNotified, Status: metav1.ConditionTrue, Reason: string(ar.Status.Phase), Message: "the sink has taken the notification",
		LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	if sent != nil {
		condition.Status, condition.Message = metav1.ConditionFalse, sent.Error()+"; it is tried again"
	}
	before := meta.FindStatusCondition(ar.Status.Conditions, ConditionNotified)
	if before != nil && before.Status == condition.Status && before.Reason == condition.Reason && before.Message == condition.Message {
		return ctrl.Result{}, sent
	}
	if sent != nil && (before == nil || before.Status != metav1.ConditionFalse) {
		r.Events.Eventf(ar, nil, corev1.EventTypeWarning, "NotNotified", "Notify", "%s",
			naming.Note(fmt.Sprintf("phase %s: %v", ar.Status.Phase, sent)))
	}
	note := &v1alpha1.ApprovalRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ar.Namespace, Name: ar.Name, UID: ar.UID}}
	note.Status.Conditions = []metav1.Condition{condition}
	if err := apply.Status(ctx, r.Client, note, apply.NotificationOwner); client.IgnoreNotFound(err) != nil && sent == nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, sent
}

// unsent tells whether the request's phase is news to the sink. Until the request controller has said what the phase
// is, there is none.
func unsent(ar *v1alpha1.ApprovalRequest) bool {
	if ar.Status.Phase == "" || !ar.DeletionTimestamp.IsZero() {
		return false
	}
	c := meta.FindStatusCondition(ar.Status.Conditions, ConditionNotified)
	return c == nil || c.Reason != string(ar.Status.Phase) || c.Status != metav1.ConditionTrue
}

func phaseSince(ar *v1alpha1.ApprovalRequest) time.Time {
	if c := meta.FindStatusCondition(ar.Status.Conditions, ConditionDecided); c != nil && ar.Status.Phase != v1alpha1.PhasePending {
		return c.LastTransitionTime.Time
	}
	return ar.CreationTimestamp.Time
}

// NotificationKeys reads the keys from a Secret at every call.
func NotificationKeys(live client.Reader, secret types.NamespacedName) func(context.Context) ([][]byte, error) {
	return func(ctx context.Context) ([][]byte, error) {
		found, err := reference.Secret(ctx, live, secret.Namespace, secret.Name)
		if err != nil {
			return nil, fmt.Errorf("the keys that sign notifications: %w", err)
		}
		keys, err := notification.ParseKeys(found.Data)
		if err != nil {
			return nil, fmt.Errorf("the keys that sign notifications: secret %s: %w", secret, err)
		}
		return keys, nil
	}
}
