package broker

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

const (
	// A token's review holds for a minute: it spares the API server a review per call, and a token that was
	// withdrawn (its pod deleted) is refused at once all the same, because the pod is looked up at every call.
	reviewFor  = time.Minute
	refusalFor = 10 * time.Second
	// maxReviews bounds the cache; at most two tokens a pod are current.
	maxReviews = 20_000
	// maxToken is far above a projected token's 1 to 2 KiB.
	maxToken = 16 << 10
	// maxAtOnce bounds reviews under way, and with the rate by address what a flood of made-up tokens can ask of
	// the API server.
	maxAtOnce      = 32
	reviewTimeout  = 10 * time.Second
	reviewsPerAddr = 2
	reviewsBurst   = 30
	maxAddresses   = 20_000
)

// reviews asks the API server whose tokens are, and remembers the answers by the tokens' hashes.
type reviews struct {
	client  client.Client
	log     logr.Logger
	answers *cache.LRUExpireCache
	rates   *cache.LRUExpireCache
	slots   chan struct{}
}

type answer struct {
	id  Identity
	err error
}

func newReviews(c client.Client, clk clock.Clock, log logr.Logger) *reviews {
	return &reviews{
		client:  c,
		log:     log,
		answers: cache.NewLRUExpireCacheWithClock(maxReviews, clk),
		rates:   cache.NewLRUExpireCacheWithClock(maxAddresses, clk),
		slots:   make(chan struct{}, maxAtOnce),
	}
}

func (r *reviews) review(ctx context.Context, token, from string) (Identity, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return Identity{}, status.Error(codes.Unauthenticated, "the token is not a service account's")
	}
	key := sha256.Sum256([]byte(token))
	if known, ok := r.answers.Get(key); ok {
		a := known.(answer)
		return a.id, a.err
	}
	if !r.limiter(from).Allow() {
		return Identity{}, status.Error(codes.ResourceExhausted, "too many new tokens from this address; try again in a while")
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return Identity{}, status.Error(codes.Unavailable, "too many sidecars at once; try again")
	}
	tr := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{layout.TokenAudience}}}
	if err := r.client.Create(ctx, tr); err != nil {
		r.log.Error(err, "reviewing a sidecar's token")
		return Identity{}, status.Error(codes.Unavailable, "the token could not be reviewed; try again")
	}
	id, err := identify(&tr.Status)
	if err != nil {
		err = status.Error(codes.Unauthenticated, err.Error())
		r.answers.Add(key, answer{err: err}, refusalFor)
		return Identity{}, err
	}
	r.answers.Add(key, answer{id: id}, reviewFor)
	return id, nil
}

// limiter is the address's own. Two calls that make one at the same moment get one each; the rate bounds work, not
// access.
func (r *reviews) limiter(from string) *rate.Limiter {
	if known, ok := r.rates.Get(from); ok {
		return known.(*rate.Limiter)
	}
	l := rate.NewLimiter(reviewsPerAddr, reviewsBurst)
	r.rates.Add(from, l, 10*time.Minute)
	return l
}
