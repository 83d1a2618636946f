package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
	"github.com/chaperone-dev/chaperone/controllers/naming"
)

const (
	// maxPending is what people can be asked to look at for one pod at once.
	maxPending = 10
	// maxKept bounds the requests, decided ones included, that one namespace holds; they are deleted a day after
	// their end.
	maxKept = 5000

	// ConditionUsed is true once a command was released by the request's grant.
	ConditionUsed = "Used"
)

var errChanged = errors.New("the request has changed")

// requests keeps the ApprovalRequest objects.
type requests struct {
	client client.Client
	reader client.Reader // live
	key    []byte
	clock  clock.Clock
	events events.EventRecorder
	follower
}

// find returns the name of the open request that is identical to the ask, filing it if there is none.
func (r *requests) find(ctx context.Context, c *caller, a *ask) (types.NamespacedName, error) {
	c.filing.Lock()
	defer c.filing.Unlock()
	list := &v1alpha1.ApprovalRequestList{}
	if err := r.client.List(ctx, list, client.InNamespace(a.policy.Namespace), client.MatchingLabels{LabelRequest: a.key}); err != nil {
		return types.NamespacedName{}, unavailable("looking for an identical request", err)
	}
	now := r.clock.Now()
	for i := range list.Items {
		if ar := r.newest(&list.Items[i]); r.open(ar, now) {
			return client.ObjectKeyFromObject(ar), nil
		}
	}
	if err := r.room(ctx, c, now); err != nil {
		return types.NamespacedName{}, err
	}
	// Names are derived, so that two replicas that file the same request at once make one object. The cache may lack
	// the last few.
	for number := len(list.Items); number < len(list.Items)+maxRounds; number++ {
		ar := a.request(number, now)
		err := r.client.Create(ctx, ar)
		if err == nil {
			r.remember(ar)
			r.announce(c.pod, a, ar)
			return client.ObjectKeyFromObject(ar), nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return types.NamespacedName{}, refused("filing the approval request", err)
		}
		there, err := r.live(ctx, client.ObjectKeyFromObject(ar))
		if err != nil {
			return types.NamespacedName{}, err
		}
		if there.Labels[LabelRequest] == a.key && r.open(there, now) {
			r.remember(there)
			return client.ObjectKeyFromObject(there), nil
		}
	}
	return types.NamespacedName{}, status.Error(codes.Unavailable, "the approval request could not be filed; try again")
}

func (r *requests) open(ar *v1alpha1.ApprovalRequest, now time.Time) bool {
	switch decision.Evaluate(ar, r.key, now).Phase {
	case v1alpha1.PhasePending, v1alpha1.PhaseApproved:
		return ar.DeletionTimestamp.IsZero()
	case v1alpha1.PhaseDenied:
		// A denial stands as long as the request does: asking again must not ask people again.
		return ar.DeletionTimestamp.IsZero() && now.Before(ar.Spec.ExpiresAt.Time)
	}
	return false
}

// room refuses a pod that would fill people's lists or etcd.
func (r *requests) room(ctx context.Context, c *caller, now time.Time) error {
	list := &v1alpha1.ApprovalRequestList{}
	if err := r.client.List(ctx, list, client.InNamespace(c.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return unavailable("counting this pod's requests", err)
	}
	pending := 0
	for _, ar := range r.known(list.Items, c.Namespace) {
		if ar.Spec.Pod.UID == c.UID && decision.Evaluate(ar, r.key, now).Phase == v1alpha1.PhasePending {
			pending++
		}
	}
	switch {
	case pending >= maxPending:
		return status.Errorf(codes.ResourceExhausted, "%d requests of this pod are waiting for a decision already; try again when one is decided", pending)
	case len(list.Items) >= maxKept:
		return status.Errorf(codes.ResourceExhausted, "namespace %s holds %d approval requests; try again when old ones have been deleted", c.Namespace, len(list.Items))
	case !c.requests.AllowN(now, 1):
		return status.Error(codes.ResourceExhausted, "this pod files too many approval requests; try again in a minute")
	}
	return nil
}

// get returns a request from the cache, or as it was read live where the cache is behind.
func (r *requests) get(ctx context.Context, key types.NamespacedName) (*v1alpha1.ApprovalRequest, error) {
	ar := &v1alpha1.ApprovalRequest{}
	err := r.client.Get(ctx, key, ar)
	if apierrors.IsNotFound(err) {
		return r.live(ctx, key)
	}
	if err != nil {
		return nil, unavailable("reading the request", err)
	}
	return r.newest(ar), nil
}

func (r *requests) live(ctx context.Context, key types.NamespacedName) (*v1alpha1.ApprovalRequest, error) {
	ar := &v1alpha1.ApprovalRequest{}
	err := r.reader.Get(ctx, key, ar)
	if apierrors.IsNotFound(err) {
		r.forget(key)
		return nil, status.Errorf(codes.FailedPrecondition, "approval request %s was deleted; the command stays refused", key.Name)
	}
	if err != nil {
		return nil, unavailable("reading the request", err)
	}
	return ar, nil
}

// use counts a use under optimistic locking: errChanged where somebody else has written since ar was read, or where it
// is gone.
func (r *requests) use(ctx context.Context, ar *v1alpha1.ApprovalRequest, outcome decision.Outcome, by types.NamespacedName) error {
	ar.Status.Uses++
	after := decision.Evaluate(ar, r.key, r.clock.Now())
	ar.Status.Phase, ar.Status.Message, ar.Status.Approvals = after.Phase, after.Message, after.Approvals
	expires := metav1.NewTime(outcome.GrantExpiresAt)
	ar.Status.GrantExpiresAt = &expires
	meta.SetStatusCondition(&ar.Status.Conditions, metav1.Condition{
		Type: ConditionUsed, Status: metav1.ConditionTrue, Reason: "Released", ObservedGeneration: ar.Generation,
		Message: "a command of pod " + by.Name + " was released by it", LastTransitionTime: metav1.NewTime(r.clock.Now()),
	})
	err := r.client.Status().Update(ctx, ar)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("updating the status of approval request %s/%s: %w", ar.Namespace, ar.Name, err)
	}
	r.remember(ar)
	return nil
}

func usedAt(ar *v1alpha1.ApprovalRequest) time.Time {
	if c := meta.FindStatusCondition(ar.Status.Conditions, ConditionUsed); c != nil {
		return c.LastTransitionTime.Time
	}
	return time.Time{}
}

func (r *requests) announce(pod *corev1.Pod, a *ask, ar *v1alpha1.ApprovalRequest) {
	// Who decides reads the command to do it with even where the rest has to be cut.
	note := fmt.Sprintf("%s of target %s waits for approval by rule %s of policy %s: %s",
		naming.Escape(a.command.Text, maxEventText), a.target, a.rule, a.policy.Name, naming.Decide(ar.Namespace, ar.Name, string(v1alpha1.VerdictApprove)))
	if a.words != "" {
		note += fmt.Sprintf(" (why, in the agent's own words: %s)", naming.Escape(a.words, maxEventText))
	}
	for object, related := range map[runtime.Object]runtime.Object{pod: ar, a.policy: ar, ar: pod} {
		r.events.Eventf(object, related, corev1.EventTypeNormal, "ApprovalRequested", "Approve", "%s", naming.Note(note))
	}
}

// maxEventText is how much of the agent's own an event shows; the request has the whole of it.
const maxEventText = 100
