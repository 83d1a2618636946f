package broker

import (
	"context"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

const (
	ownersFor = 10 * time.Minute
	maxOwners = 10_000
)

// between are the owners that stand between a pod and what a person wrote.
var between = map[string]schema.GroupVersionKind{
	"ReplicaSet": {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	"Job":        {Group: "batch", Version: "v1", Kind: "Job"},
}

// owners finds the workload that a pod belongs to.
type owners struct {
	live  client.Reader
	known *cache.LRUExpireCache
}

func newOwners(live client.Reader, c clock.Clock) *owners {
	return &owners{live: live, known: cache.NewLRUExpireCacheWithClock(maxOwners, c)}
}

// of returns kind/name: a Deployment rather than its ReplicaSet, a CronJob rather than its Job. Where the one above
// cannot be read, the pod's own owner is the answer; "" for a pod without one.
func (o *owners) of(ctx context.Context, pod *corev1.Pod) string {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return ""
	}
	gvk, middle := between[ref.Kind]
	if !middle || !strings.HasPrefix(ref.APIVersion, gvk.Group+"/") {
		return ref.Kind + "/" + ref.Name
	}
	if known, ok := o.known.Get(ref.UID); ok {
		return known.(string)
	}
	above := &metav1.PartialObjectMetadata{}
	above.SetGroupVersionKind(gvk)
	if err := o.live.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: ref.Name}, above); err != nil || above.UID != ref.UID {
		return ref.Kind + "/" + ref.Name
	}
	name := ref.Kind + "/" + ref.Name
	if top := metav1.GetControllerOf(above); top != nil {
		name = top.Kind + "/" + top.Name
	}
	o.known.Add(ref.UID, name, ownersFor)
	return name
}

// images are the agent containers' images with the digests that run, as name=imageID.
func images(pod *corev1.Pod) []string {
	var out []string
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if s := &list[i]; !layout.Ours(s.Name) && s.ImageID != "" {
				out = append(out, s.Name+"="+s.ImageID)
			}
		}
	}
	sort.Strings(out)
	if len(out) > 64 {
		out = out[:64] // the API's bound; a pod of that many containers is no workload scope's
	}
	return out
}

// pinned tells whether what runs in every agent container is known by its digest.
func pinned(pod *corev1.Pod) bool {
	known := map[string]bool{}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			known[list[i].Name] = strings.Contains(list[i].ImageID, "sha256:")
		}
	}
	n := 0
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if layout.Ours(list[i].Name) {
				continue
			}
			n++
			if !known[list[i].Name] {
				return false
			}
		}
	}
	// Whoever may add a debug container runs what they like in this pod.
	return n <= 64 && len(pod.Spec.EphemeralContainers) == 0
}
