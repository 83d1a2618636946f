package broker

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
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
	// maxAtOnce bounds reviews under way, and with what each address may have of them and get wrong, what a flood of
	// made-up tokens can ask of the API server.
	maxAtOnce     = 32
	reviewTimeout = 10 * time.Second
	// Half of the reviews are left to others, whatever one address sends.
	maxAtOnceFrom = maxAtOnce / 2
	// Only refused tokens are charged: all pods of a node may come from its one address, each with a token of its own
	// that holds, and after a restart of the operator all at once.
	refusalsPerSecond = 2
	refusalsBurst     = 30
	maxAddresses      = 20_000
	addressFor        = 10 * time.Minute
)

// reviews asks the API server whose tokens are, and remembers the answers by the tokens' hashes.
type reviews struct {
	client  client.Client
	log     logr.Logger
	answers *cache.LRUExpireCache
	slots   chan struct{}

	mu        sync.Mutex            // makes an address's record once
	addresses *cache.LRUExpireCache // of *source
}

// source is what one address may ask.
type source struct {
	refusals *rate.Limiter
	slots    chan struct{}
}

var errTooManyRefused = status.Error(codes.ResourceExhausted, "too many tokens from this address were not valid; try again in a while")

type answer struct {
	id  Identity
	err error
}

func newReviews(c client.Client, clk clock.Clock, log logr.Logger) *reviews {
	return &reviews{
		client:    c,
		log:       log,
		answers:   cache.NewLRUExpireCacheWithClock(maxReviews, clk),
		addresses: cache.NewLRUExpireCacheWithClock(maxAddresses, clk),
		slots:     make(chan struct{}, maxAtOnce),
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
	src := r.source(from)
	if src.refusals.Tokens() < 1 {
		return Identity{}, errTooManyRefused
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	for _, slots := range []chan struct{}{src.slots, r.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return Identity{}, status.Error(codes.Unavailable, "too many sidecars at once; try again")
		}
	}
	// Those that waited with this one may have used up what the address may get wrong.
	if src.refusals.Tokens() < 1 {
		return Identity{}, errTooManyRefused
	}
	tr := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{layout.TokenAudience}}}
	if err := r.client.Create(ctx, tr); err != nil {
		r.log.Error(err, "reviewing a sidecar's token")
		return Identity{}, status.Error(codes.Unavailable, "the token could not be reviewed; try again")
	}
	id, err := identify(&tr.Status)
	if err != nil {
		src.refusals.Reserve() // below zero, where several were under way
		err = status.Error(codes.Unauthenticated, err.Error())
		r.answers.Add(key, answer{err: err}, refusalFor)
		return Identity{}, err
	}
	r.answers.Add(key, answer{id: id}, reviewFor)
	return id, nil
}

func (r *reviews) source(from string) *source {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.addresses.Get(from); ok {
		return known.(*source)
	}
	src := &source{refusals: rate.NewLimiter(refusalsPerSecond, refusalsBurst), slots: make(chan struct{}, maxAtOnceFrom)}
	r.addresses.Add(from, src, addressFor)
	return src
}
