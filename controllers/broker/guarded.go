package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/webhook/guard"
)

const (
	// A pod that passed is looked at again when it changes, and after this time in any case, because the policies
	// and Secrets that the guard compares it with change too.
	guardedFor = time.Minute
	maxGuarded = 20_000
)

// LiveGuard asks the guard what no policy could permit: it is for Options.Guard. key is that of the seals.
func LiveGuard(live client.Reader, key []byte) func(context.Context, *corev1.Pod) error {
	return func(ctx context.Context, pod *corev1.Pod) error {
		var failure error
		refusal := guard.Live().Run(guard.Input{Pod: pod, Key: key, SecretType: func(name string) (corev1.SecretType, error) {
			secret := &corev1.Secret{}
			err := client.IgnoreNotFound(live.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: name}, secret))
			failure = errors.Join(failure, err)
			return secret.Type, err
		}})
		switch {
		case failure != nil:
			return fmt.Errorf("reading the secrets of pod %s/%s: %w", pod.Namespace, pod.Name, failure)
		case refusal != nil:
			return refusal
		}
		if container, uid := Impostor(pod); container != "" {
			return &guard.Refusal{
				Pod: pod.Namespace + "/" + pod.Name, Reason: "sidecar-uid",
				Message: fmt.Sprintf("container %s runs as uid %d, which is the sidecar's own", container, uid),
			}
		}
		return nil
	}
}

// guarded asks the guard about live pods and remembers those that passed.
type guarded struct {
	guard  func(context.Context, *corev1.Pod) error
	passed *cache.LRUExpireCache
}

type guardedKey struct {
	uid     types.UID
	version string
}

func newGuarded(check func(context.Context, *corev1.Pod) error, c clock.Clock) *guarded {
	return &guarded{guard: check, passed: cache.NewLRUExpireCacheWithClock(maxGuarded, c)}
}

func (g *guarded) check(ctx context.Context, pod *corev1.Pod) error {
	key := guardedKey{pod.UID, pod.ResourceVersion}
	if _, ok := g.passed.Get(key); ok {
		return nil
	}
	err := g.guard(ctx, pod)
	var refusal *guard.Refusal
	switch {
	case errors.As(err, &refusal):
		return status.Error(codes.PermissionDenied, err.Error())
	case err != nil:
		return status.Errorf(codes.Unavailable, "the pod could not be checked: %v; try again", err)
	}
	g.passed.Add(key, true, guardedFor)
	return nil
}
