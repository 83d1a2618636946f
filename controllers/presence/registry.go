// Package presence knows which sidecars are connected to the brokers and which version of their policies they hold.
//
// Every replica keeps its own connections in memory. With several replicas each also publishes them in a ConfigMap
// of the operator's namespace, a few seconds late, so that the leader can count them all.
package presence

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// forget is how long a sidecar that hung up is remembered, so that "has not been seen for" can be said of it.
const forget = time.Hour

// Sidecar is one pod's sidecar as a broker last saw it.
type Sidecar struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	UID       types.UID `json:"uid"`
	// Version is the policy set that it holds, as it echoed it.
	Version string `json:"version,omitempty"`
	// Error is why it could not put the last set in force; empty when it could.
	Error string `json:"error,omitempty"`
	// RecordingError is why its last recording could not be kept; empty when it could.
	RecordingError string `json:"recordingError,omitempty"`
	// Roles are those that its leased credentials turned out to be, one a target.
	Roles []Role `json:"roles,omitempty"`
	// Software is the sidecar's own version.
	Software string `json:"software,omitempty"`
	// Connected is false for one that hung up; Seen is when it was last heard.
	Connected bool      `json:"connected"`
	Seen      time.Time `json:"seen"`
}

// Registry holds this replica's connections.
type Registry struct {
	clock clock.PassiveClock

	mu      sync.Mutex // guards what follows
	entries map[types.UID]*entry
	changed map[string]struct{} // namespaces since the last Drain
	wake    chan struct{}
	version uint64
}

type entry struct {
	Sidecar
	streams int
}

// NewRegistry returns an empty registry.
func NewRegistry(c clock.PassiveClock) *Registry {
	return &Registry{clock: c, entries: map[types.UID]*entry{}, changed: map[string]struct{}{}, wake: make(chan struct{}, 1)}
}

// Connect notes a new stream of a pod's sidecar. The returned function ends it. A sidecar may have two streams for a
// moment, when it reconnects before the broker has noticed that the old one is gone.
func (r *Registry) Connect(pod types.NamespacedName, uid types.UID) (hangUp func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[uid]
	if e == nil {
		e = &entry{Sidecar: Sidecar{Namespace: pod.Namespace, Pod: pod.Name, UID: uid}}
		r.entries[uid] = e
	}
	e.streams++
	e.Connected, e.Seen = true, r.clock.Now()
	r.touch(pod.Namespace)
	var once sync.Once
	return func() {
		once.Do(func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			e.streams--
			e.Connected, e.Seen = e.streams > 0, r.clock.Now()
			r.touch(pod.Namespace)
		})
	}
}

// Held notes what a sidecar said of the set that it holds.
func (r *Registry) Held(uid types.UID, version, failure, software string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[uid]
	if e == nil {
		return
	}
	e.Seen = r.clock.Now()
	if e.Version != version || e.Error != failure || e.Software != software {
		e.Version, e.Error, e.Software = version, failure, software
		r.touch(e.Namespace)
	}
}

// Roles notes what roles a sidecar says that it logs in by.
func (r *Registry) Roles(uid types.UID, roles []Role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[uid]; e != nil && !slices.EqualFunc(e.Roles, roles, Role.equal) {
		e.Roles = roles
		r.touch(e.Namespace)
	}
}

// Recording notes whether what a sidecar records can be kept: "" if it can.
func (r *Registry) Recording(uid types.UID, failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[uid]; e != nil && e.RecordingError != failure {
		e.RecordingError = failure
		r.touch(e.Namespace)
	}
}

// Sidecars returns what this replica knows, by pod uid, and a number that grows with every change.
func (r *Registry) Sidecars() (map[types.UID]Sidecar, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[types.UID]Sidecar, len(r.entries))
	for uid, e := range r.entries {
		if !e.Connected && r.clock.Since(e.Seen) > forget {
			delete(r.entries, uid)
			continue
		}
		out[uid] = e.Sidecar
	}
	return out, r.version
}

// Changed receives after namespaces have changed; Drain then names them.
func (r *Registry) Changed() <-chan struct{} { return r.wake }

// Drain returns the namespaces whose sidecars have changed since the last call.
func (r *Registry) Drain() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.changed))
	for namespace := range r.changed {
		out = append(out, namespace)
	}
	clear(r.changed)
	return out
}

func (r *Registry) touch(namespace string) {
	r.version++
	r.changed[namespace] = struct{}{}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
