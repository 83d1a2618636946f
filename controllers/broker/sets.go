package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/reference"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

const (
	// referencesEvery is how late a change of a root or of known hosts reaches the sidecars. They are read again
	// rather than watched, since the operator may not watch Secrets and need not hold every ConfigMap.
	referencesEvery = 30 * time.Second
	resolveTimeout  = 10 * time.Second
	// debounce joins the policies of one `kubectl apply` into one set.
	debounce = 50 * time.Millisecond
)

// Bound is everything that applies to one pod.
type Bound struct {
	Set  policy.Set
	JSON []byte
	// Policies are the AgentPolicies of the set, in its order.
	Policies []v1alpha1.AgentPolicy
}

// Policy returns one policy of the set by namespace/name; nil if it is not for this pod.
func (b *Bound) Policy(name string) (*v1alpha1.AgentPolicy, *policy.Policy) {
	for i := range b.Set.Policies {
		if p := &b.Set.Policies[i]; p.Namespace+"/"+p.Name == name {
			return &b.Policies[i], p
		}
	}
	return nil, nil
}

// Sets makes the policy sets of pods and says when they change.
type Sets struct {
	// Cache lists policies; Live reads what they refer to.
	Cache client.Reader
	Live  client.Reader
	// MaxAge is how long a sidecar may use a set without the operator.
	MaxAge time.Duration
	// ReferencesEvery is how often references are read again. Default 30 s.
	ReferencesEvery time.Duration
	Clock           clock.WithTicker
	Log             logr.Logger

	mu         sync.Mutex // guards what follows
	namespaces map[string]*namespaceSets
}

type namespaceSets struct {
	epoch    uint64            // grows whenever what was made before may be wrong
	bound    map[string]*Bound // by bound labels
	policies map[types.UID]*converted
	watchers map[chan struct{}]struct{}
}

type converted struct {
	mu         sync.Mutex // held while the references are read, so that one caller reads them for all
	generation int64
	policy     policy.Policy
	err        error
	done       bool
	// again asks for the references to be read again.
	again atomic.Bool
}

// For returns what applies to an injected pod.
func (s *Sets) For(ctx context.Context, pod *corev1.Pod) (*Bound, error) {
	key := pod.Annotations[layout.BoundLabelsAnnotation]
	s.mu.Lock()
	ns := s.namespace(pod.Namespace)
	epoch := ns.epoch
	if b := ns.bound[key]; b != nil {
		s.mu.Unlock()
		return b, nil
	}
	s.mu.Unlock()

	list := &v1alpha1.AgentPolicyList{}
	if err := s.Cache.List(ctx, list, client.InNamespace(pod.Namespace)); err != nil {
		return nil, fmt.Errorf("listing the policies of namespace %s: %w", pod.Namespace, err)
	}
	selected, err := selection.Of(list.Items, pod)
	if err != nil {
		return nil, err
	}
	b := &Bound{Policies: selected}
	var policies []policy.Policy
	for i := range selected {
		p, _ := s.Convert(ctx, &selected[i])
		policies = append(policies, p)
	}
	if b.Set, err = snapshot.Set(policies, s.MaxAge); err != nil {
		return nil, err
	}
	if b.JSON, err = json.Marshal(b.Set); err != nil {
		return nil, fmt.Errorf("encoding a policy set: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ns.epoch == epoch {
		ns.bound[key] = b
	}
	return b, nil
}

// Convert returns the policy as sidecars get it, which is what stands in for it where it is broken, and then also
// why it is broken.
func (s *Sets) Convert(ctx context.Context, ap *v1alpha1.AgentPolicy) (policy.Policy, error) {
	s.mu.Lock()
	ns := s.namespace(ap.Namespace)
	c := ns.policies[ap.UID]
	if c == nil {
		c = &converted{}
		ns.policies[ap.UID] = c
	}
	s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.done && c.generation == ap.Generation
	if current && !c.again.Load() {
		return c.policy, c.err
	}
	c.again.Store(false)
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	p, err := snapshot.Policy(ap, reference.Resolver{Context: ctx, Reader: s.Live})
	if errors.Is(err, reference.ErrUnavailable) && current {
		// What was read before still stands; it is read again the next time round.
		s.Log.Error(err, "keeping what the policy's references held before", "policy", client.ObjectKeyFromObject(ap))
		return c.policy, c.err
	}
	if err != nil {
		p = snapshot.Broken(ap, err)
	}
	c.generation, c.policy, c.err, c.done = ap.Generation, p, err, true
	return p, err
}

// Watch receives after the sets of a namespace may have changed. stop ends it.
func (s *Sets) Watch(namespace string) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespace(namespace).watchers[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.namespace(namespace).watchers, ch)
	}
}

// Changed forgets what was made for a namespace and wakes who watches it.
func (s *Sets) Changed(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns := s.namespace(namespace)
	ns.epoch++
	clear(ns.bound)
	for ch := range ns.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Start follows the policies until ctx ends.
func (s *Sets) Start(ctx context.Context, informers ctrlcache.Informers) error {
	informer, err := informers.GetInformer(ctx, &v1alpha1.AgentPolicy{})
	if err != nil {
		return fmt.Errorf("watching policies: %w", err)
	}
	note := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if ap, ok := obj.(*v1alpha1.AgentPolicy); ok {
			s.Changed(ap.Namespace)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: note,
		UpdateFunc: func(before, after any) {
			a, okA := before.(*v1alpha1.AgentPolicy)
			b, okB := after.(*v1alpha1.AgentPolicy)
			// Status changes at every sidecar's step; the set does not.
			if okA && okB && a.UID == b.UID && a.Generation == b.Generation {
				return
			}
			note(after)
		},
		DeleteFunc: note,
	})
	if err != nil {
		return fmt.Errorf("watching policies: %w", err)
	}
	defer func() { _ = informer.RemoveEventHandler(registration) }()
	every := s.ReferencesEvery
	if every == 0 {
		every = referencesEvery
	}
	tick := s.Clock.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
			s.sweep(ctx)
		}
	}
}

// sweep wakes the namespaces whose policies refer to something, and forgets those that nobody watches and the
// policies that are gone.
func (s *Sets) sweep(ctx context.Context) {
	list := &v1alpha1.AgentPolicyList{}
	if err := s.Cache.List(ctx, list); err != nil {
		s.Log.Error(err, "listing policies")
		return
	}
	there, referring := map[types.UID]bool{}, map[string]bool{}
	for i := range list.Items {
		refers := len(snapshot.References(&list.Items[i])) > 0
		there[list.Items[i].UID] = refers
		if refers {
			referring[list.Items[i].Namespace] = true
		}
	}
	s.mu.Lock()
	for name, ns := range s.namespaces {
		clear(ns.bound) // of pods that may be gone
		for uid, c := range ns.policies {
			refers, known := there[uid]
			if !known {
				delete(ns.policies, uid)
			}
			c.again.Store(refers)
		}
		if len(ns.watchers) == 0 && len(ns.policies) == 0 {
			delete(s.namespaces, name)
		}
	}
	s.mu.Unlock()
	for name := range referring {
		s.Changed(name)
	}
}

func (s *Sets) namespace(name string) *namespaceSets {
	if s.namespaces == nil {
		s.namespaces = map[string]*namespaceSets{}
	}
	ns := s.namespaces[name]
	if ns == nil {
		ns = &namespaceSets{bound: map[string]*Bound{}, policies: map[types.UID]*converted{}, watchers: map[chan struct{}]struct{}{}}
		s.namespaces[name] = ns
	}
	return ns
}
