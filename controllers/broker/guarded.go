package broker

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"

	"github.com/chaperone-dev/chaperone/webhook/guard"
)

const (
	// A pod that passed is looked at again when it changes, and after this time in any case, because the policies
	// and Secrets that the guard compares it with change too.
	guardedFor = time.Minute
	maxGuarded = 20_000
)

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
