package broker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// What one pod may use of the operator. A sidecar in order stays far below: one policies stream, a lease a
// connection, an approval a command that needs one, a log a target and hour.
const (
	maxPolicyStreams = 4 // one, and those whose end has not been noticed yet
	maxApproving     = 32
	maxLogs          = 64

	leasesPerSecond   = 5
	leasesBurst       = 100
	messagesPerSecond = 20
	messagesBurst     = 100
	// A new request is an object in etcd that an approver has to look at.
	requestsPerMinute = 10
	requestsBurst     = 30
	// Asking again for a request that exists costs a look into the cache.
	asksPerSecond = 10
	asksBurst     = 100
	logsPerMinute = 2
	logsBurst     = 60
	// Chunks and bytes hold the sender back instead of refusing it.
	chunksPerSecond = 50
	chunksBurst     = 500
	bytesPerSecond  = 8 << 20
	bytesBurst      = 64 << 20

	allowanceIdle = time.Hour
)

// allowance is one pod's.
type allowance struct {
	leases, messages, requests, asks, logs, chunks, bytes *rate.Limiter

	policyStreams, approving, recording counter

	filing sync.Mutex // so that a pod's requests are counted one by one

	used time.Time // guarded by allowances.mu
}

// counter bounds what is under way at once.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) take(limit int, what string) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= limit {
		return nil, status.Errorf(codes.ResourceExhausted, "this pod has %d %s already; try again when one has ended", c.n, what)
	}
	c.n++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n--
	}, nil
}

func (c *counter) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n == 0
}

type allowances struct {
	clock clock.PassiveClock
	mu    sync.Mutex // guards what follows
	pods  map[types.UID]*allowance
	swept time.Time
}

func newAllowances(c clock.PassiveClock) *allowances {
	return &allowances{clock: c, pods: map[types.UID]*allowance{}, swept: c.Now()}
}

func (a *allowances) of(uid types.UID) *allowance {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	if now.Sub(a.swept) > allowanceIdle/4 {
		for other, p := range a.pods {
			if now.Sub(p.used) > allowanceIdle && p.policyStreams.idle() && p.approving.idle() && p.recording.idle() {
				delete(a.pods, other)
			}
		}
		a.swept = now
	}
	p := a.pods[uid]
	if p == nil {
		p = &allowance{
			leases:   rate.NewLimiter(leasesPerSecond, leasesBurst),
			messages: rate.NewLimiter(messagesPerSecond, messagesBurst),
			requests: rate.NewLimiter(requestsPerMinute/60.0, requestsBurst),
			asks:     rate.NewLimiter(asksPerSecond, asksBurst),
			logs:     rate.NewLimiter(logsPerMinute/60.0, logsBurst),
			chunks:   rate.NewLimiter(chunksPerSecond, chunksBurst),
			bytes:    rate.NewLimiter(bytesPerSecond, bytesBurst),
		}
		a.pods[uid] = p
	}
	p.used = now
	return p
}
