package inject

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// The sidecar's uid is the only one whose traffic is not redirected, so it is drawn for each pod anew from a range
// where no image, no host user and no subordinate id of user namespaces is expected: systemd's allocation
// (systemd.io/UIDS-GIDS) leaves everything between 1879048192 and 2147483647 unused. A pod in a user namespace of
// its own (hostUsers: false) has only 65536 ids; there the range is one above the ordinary users (1000 upwards) and
// below the dynamic ones (60001 upwards).
const (
	FirstUID     = 1_900_000_000
	UIDs         = 100_000_000
	FirstUserUID = 40_000
	UserUIDs     = 20_000
)

// random returns a number from 0 to n-1 that nobody can guess.
func random(n int64) (int64, error) {
	v, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		return 0, fmt.Errorf("drawing the sidecar's uid: %w", err)
	}
	return v.Int64(), nil
}

func uidRange(pod *corev1.Pod) (first, count int64) {
	if pod.Spec.HostUsers != nil && !*pod.Spec.HostUsers {
		return FirstUserUID, UserUIDs
	}
	return FirstUID, UIDs
}

// drawUID returns a uid that the pod itself does not use.
func drawUID(pod *corev1.Pod, o Options) (int64, error) {
	taken := usedIDs(pod)
	first, count := uidRange(pod)
	// A pod has a few dozen ids at most: one of this many draws is free, or the source is broken.
	for range 64 {
		n, err := o.UID(count)
		if err != nil {
			return 0, err
		}
		if uid := first + n; n >= 0 && n < count && !taken[uid] {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("drawing the sidecar's uid: no free number between %d and %d", first, first+count-1)
}

// usedIDs are the uids and gids that the pod names outside our containers.
func usedIDs(pod *corev1.Pod) map[int64]bool {
	used := map[int64]bool{}
	add := func(ids ...*int64) {
		for _, id := range ids {
			if id != nil {
				used[*id] = true
			}
		}
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		add(sc.RunAsUser, sc.RunAsGroup, sc.FSGroup)
		for i := range sc.SupplementalGroups {
			add(&sc.SupplementalGroups[i])
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && !layout.Ours(list[i].Name) {
				add(sc.RunAsUser, sc.RunAsGroup)
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if sc := pod.Spec.EphemeralContainers[i].SecurityContext; sc != nil {
			add(sc.RunAsUser, sc.RunAsGroup)
		}
	}
	return used
}

// UID returns the uid that the pod's sidecar runs as. ok is false where there is no sidecar that says so.
func UID(pod *corev1.Pod) (uid int64, ok bool) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name != layout.SidecarContainer || c.SecurityContext == nil || c.SecurityContext.RunAsUser == nil {
			continue
		}
		for _, env := range c.Env {
			if env.Name == layout.EnvUID && env.Value == strconv.FormatInt(*c.SecurityContext.RunAsUser, 10) {
				return *c.SecurityContext.RunAsUser, true
			}
		}
	}
	return 0, false
}
