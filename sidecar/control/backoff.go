package control

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffBase   = 500 * time.Millisecond
	backoffFactor = 1.6
	// backoffMax bounds how long a pod waits after the operator is back. A thousand sidecars that lost it at the
	// same moment then come back over half a minute.
	backoffMax = 30 * time.Second
)

// pause is the exponential backoff of one loop. Its zero value is ready.
type pause struct{ last time.Duration }

// next is the next delay: somewhere in the upper half of a bound that grows.
func (p *pause) next() time.Duration {
	if p.last == 0 {
		p.last = backoffBase
	} else {
		p.last = min(time.Duration(float64(p.last)*backoffFactor), backoffMax)
	}
	return p.last/2 + rand.N(p.last/2)
}

// reset begins anew after a success.
func (p *pause) reset() { p.last = 0 }

// wait waits for the next delay and tells whether ctx still stands.
func (p *pause) wait(ctx context.Context) bool {
	timer := time.NewTimer(p.next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
