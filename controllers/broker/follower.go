package broker

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// follower wakes those who wait for a request, and bridges the moment in which the cache is behind what this replica
// itself has read or written.
type follower struct {
	mu       sync.Mutex // guards what follows
	watchers map[types.NamespacedName]map[chan struct{}]struct{}
	newer    map[types.NamespacedName]*v1alpha1.ApprovalRequest
}

func newFollower() follower {
	return follower{watchers: map[types.NamespacedName]map[chan struct{}]struct{}{}, newer: map[types.NamespacedName]*v1alpha1.ApprovalRequest{}}
}

// watch receives when a request may have changed.
func (r *follower) watch(key types.NamespacedName) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers[key] == nil {
		r.watchers[key] = map[chan struct{}]struct{}{}
	}
	r.watchers[key][ch] = struct{}{}
	return ch, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers[key], ch)
		if len(r.watchers[key]) == 0 {
			delete(r.watchers, key)
		}
	}
}

// watched tells whether a command waits for the request here.
func (r *follower) watched(key types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watchers[key]) > 0
}

// start follows the requests until ctx ends.
func (r *follower) start(ctx context.Context, informers ctrlcache.Informers) error {
	informer, err := informers.GetInformer(ctx, &v1alpha1.ApprovalRequest{})
	if err != nil {
		return fmt.Errorf("watching approval requests: %w", err)
	}
	note := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if ar, ok := obj.(*v1alpha1.ApprovalRequest); ok {
			r.wake(client.ObjectKeyFromObject(ar), ar.ResourceVersion)
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, after any) { note(after) }, DeleteFunc: func(obj any) {
			note(obj)
			if ar, ok := obj.(*v1alpha1.ApprovalRequest); ok {
				r.forget(client.ObjectKeyFromObject(ar))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching approval requests: %w", err)
	}
	<-ctx.Done()
	return informer.RemoveEventHandler(registration)
}

func (r *follower) wake(key types.NamespacedName, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.newer[key]; have != nil && !older(version, have.ResourceVersion) {
		delete(r.newer, key) // the cache has caught up
	}
	for ch := range r.watchers[key] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (r *follower) remember(ar *v1alpha1.ApprovalRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newer[client.ObjectKeyFromObject(ar)] = ar.DeepCopy()
}

func (r *follower) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.newer, key)
}

// newest returns what was read or written live where that is newer than the cached object.
func (r *follower) newest(cached *v1alpha1.ApprovalRequest) *v1alpha1.ApprovalRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.newer[client.ObjectKeyFromObject(cached)]
	if have == nil || have.UID != cached.UID || !older(cached.ResourceVersion, have.ResourceVersion) {
		return cached
	}
	return have.DeepCopy()
}

// known returns a namespace's requests as newest has them, with those that the cache does not have yet.
func (r *follower) known(cached []v1alpha1.ApprovalRequest, namespace string) []*v1alpha1.ApprovalRequest {
	out := make([]*v1alpha1.ApprovalRequest, 0, len(cached))
	there := make(map[string]bool, len(cached))
	for i := range cached {
		there[cached[i].Name] = true
		out = append(out, r.newest(&cached[i]))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, ar := range r.newer {
		if key.Namespace == namespace && !there[key.Name] {
			out = append(out, ar)
		}
	}
	return out
}

// older compares resource versions (KEP-5504); ones that cannot be compared are taken as not older, so that what the
// cache says counts.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
