package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/apply"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/controllers/reference"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// +kubebuilder:rbac:groups=chaperone.dev,resources=agentpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=chaperone.dev,resources=agentpolicies/status,verbs=get;update;patch
// +kubebuilder:rbac:groups="",resources=pods;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get;list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// Conditions change with things that are not watched (Secrets, the time that a sidecar has been away, other
	// replicas' connections), so a policy is looked at again: soon while something is wrong.
	lookAgainSoon  = 20 * time.Second
	lookAgainLater = 2 * time.Minute
)

// AgentPolicyReconciler says in a policy's status whether it is in force and whom it protects.
type AgentPolicyReconciler struct {
	Client client.Client
	// Live reads Secrets, ConfigMaps and ReplicaSets, none of which are cached.
	Live client.Reader
	// Sets converts policies as the broker does.
	Sets *broker.Sets
	// Sidecars returns what all replicas know of the sidecars.
	Sidecars func(context.Context) (map[types.UID]presence.Sidecar, error)
	// Webhooks says why pods of a namespace would not be injected; nil if they would.
	Webhooks func(ctx context.Context, namespace string) error
	// OperatorNamespace is named to those whose NetworkPolicy keeps sidecars from it.
	OperatorNamespace string
	Events            events.EventRecorder
	Clock             clock.PassiveClock
	// Started is since when sidecars can have connected to this operator.
	Started time.Time
}

// Reconcile implements reconcile.Reconciler.
func (r *AgentPolicyReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ap := &v1alpha1.AgentPolicy{}
	if err := r.Client.Get(ctx, req.NamespacedName, ap); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	seen, err := r.observe(ctx, ap)
	if err != nil || seen.namespace.Status.Phase == corev1.NamespaceTerminating {
		return ctrl.Result{}, err
	}
	wanted := policyStatus(seen)
	if !equality.Semantic.DeepEqual(wanted, ap.Status) {
		before := ap.Status
		ap.Status = wanted
		if err := apply.Status(ctx, r.Client, ap, apply.PolicyOwner); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		r.announce(ap, before)
	}
	return ctrl.Result{RequeueAfter: nextLook(wanted)}, nil
}

func nextLook(s v1alpha1.AgentPolicyStatus) time.Duration {
	if meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady) && meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionProtecting) {
		return lookAgainLater
	}
	return lookAgainSoon
}

// observation is everything that a policy's status follows from.
type observation struct {
	policy    *v1alpha1.AgentPolicy
	namespace *corev1.Namespace
	pods      []corev1.Pod
	refused   []appsv1.ReplicaSet // whose pods Pod Security refuses
	// broken is why the policy cannot be put in force; conflict why it and another contradict each other.
	broken      error
	credentials error
	conflict    string
	webhooks    error
	sidecars    map[types.UID]presence.Sidecar

	operatorNamespace string
	now, started      time.Time
}

func (r *AgentPolicyReconciler) observe(ctx context.Context, ap *v1alpha1.AgentPolicy) (*observation, error) {
	o := &observation{
		policy: ap, namespace: &corev1.Namespace{}, operatorNamespace: r.OperatorNamespace,
		now: r.Clock.Now(), started: r.Started,
	}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: ap.Namespace}, o.namespace); err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", ap.Namespace, err)
	}
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(ap.Namespace)); err != nil {
		return nil, fmt.Errorf("listing the pods of namespace %s: %w", ap.Namespace, err)
	}
	o.pods = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !counts(&p) || !selects(ap, &p) })
	if enforcedLevel(o.namespace) != "" {
		sets := &appsv1.ReplicaSetList{}
		if err := r.Live.List(ctx, sets, client.InNamespace(ap.Namespace)); err != nil {
			return nil, fmt.Errorf("listing the replica sets of namespace %s: %w", ap.Namespace, err)
		}
		o.refused = slices.DeleteFunc(sets.Items, func(s appsv1.ReplicaSet) bool { return missingPods(ap, &s) == 0 })
	}
	var mine policy.Policy
	mine, o.broken = r.Sets.Convert(ctx, ap)
	if o.broken == nil {
		o.credentials = r.credentials(ctx, ap)
		var err error
		if o.conflict, err = r.conflict(ctx, ap, mine, o.pods); err != nil {
			return nil, err
		}
	}
	o.webhooks = r.Webhooks(ctx, ap.Namespace)
	var err error
	o.sidecars, err = r.Sidecars(ctx)
	return o, err
}

// credentials says what is wrong with the Secrets that are leased.
func (r *AgentPolicyReconciler) credentials(ctx context.Context, ap *v1alpha1.AgentPolicy) error {
	var all snapshot.Errors
	for _, ref := range snapshot.References(ap) {
		if ref.Kind != snapshot.KindSecret || ref.Key != "" {
			continue
		}
		secret, err := reference.Secret(ctx, r.Live, ap.Namespace, ref.Name)
		if err == nil {
			err = broker.CheckCredential(ref, secret)
		}
		if err != nil {
			all = append(all, &snapshot.Error{Field: ref.Field, Target: ref.Target, Reference: true, Err: err})
		}
	}
	if all == nil {
		return nil
	}
	return all
}

// conflict compares the policy with each of the namespace that may be for the same pod.
func (r *AgentPolicyReconciler) conflict(ctx context.Context, ap *v1alpha1.AgentPolicy, mine policy.Policy, pods []corev1.Pod) (string, error) {
	others := &v1alpha1.AgentPolicyList{}
	if err := r.Client.List(ctx, others, client.InNamespace(ap.Namespace)); err != nil {
		return "", fmt.Errorf("listing the policies of namespace %s: %w", ap.Namespace, err)
	}
	for i := range others.Items {
		other := &others.Items[i]
		if other.UID == ap.UID || !meet(ap, other, pods) {
			continue
		}
		theirs, err := r.Sets.Convert(ctx, other)
		if err != nil {
			continue // its own condition says so
		}
		compiled, err := policy.Compile(policy.Set{Policies: []policy.Policy{mine, theirs}})
		if err != nil {
			return err.Error(), nil //nolint:nilerr // what the compiler finds is the conflict
		}
		for _, d := range compiled.Destinations() {
			if d.Conflict() != "" {
				return fmt.Sprintf("destination %s port %d: %s; connections to it are refused", d.Hosts()[0], d.Port(), d.Conflict()), nil
			}
		}
	}
	return "", nil
}

// announce says in events what has changed of the conditions.
func (r *AgentPolicyReconciler) announce(ap *v1alpha1.AgentPolicy, before v1alpha1.AgentPolicyStatus) {
	for _, c := range ap.Status.Conditions {
		old := meta.FindStatusCondition(before.Conditions, c.Type)
		if old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		kind := corev1.EventTypeNormal
		if c.Status != "True" {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(ap, nil, kind, c.Reason, c.Type, "%s", naming.Note(c.Message))
	}
}
