package control

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pause is the time between attempts: exponential from least to most, with full jitter in the upper half, so that
// the sidecars of a cluster do not come back to a restarted operator all at once.
type pause struct {
	least, most time.Duration
	next        time.Duration
}

func (p *pause) reset() { p.next = 0 }

// wait sleeps, or returns ctx's error.
func (p *pause) wait(ctx context.Context) error {
	p.next = min(max(2*p.next, p.least), p.most)
	timer := time.NewTimer(p.next/2 + rand.N(p.next/2+1)) //nolint:gosec // G404: jitter is no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// away says whether an error means that the operator could not be reached, rather than that it said no.
func away(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Unknown, codes.Internal:
		return true
	}
	return false
}
