package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

const (
	// bucketEvery is how often readiness writes to the bucket; in between the last answer counts.
	bucketEvery = 15 * time.Second
	// checkTimeout bounds one check, below the kubelet's default probe timeout.
	checkTimeout = 900 * time.Millisecond
)

// health registers the probes: alive is to answer at all, ready is to be able to admit pods, serve sidecars and
// keep recordings.
func (p *parts) health() error {
	bucket := &bucketCheck{check: func(ctx context.Context) error { return p.archive.Check(ctx, p.flags.name) }}
	checks := map[string]healthz.Checker{
		"webhooks": p.mgr.GetWebhookServer().StartedChecker(),
		"broker":   func(*http.Request) error { return p.broker.Ready() },
		"certificate": func(*http.Request) error {
			_, err := p.serving.GetCertificate(nil)
			return err
		},
		"caches": func(r *http.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
			defer cancel()
			if !p.mgr.GetCache().WaitForCacheSync(ctx) {
				return errors.New("the caches are not filled yet")
			}
			return nil
		},
		"bucket": bucket.ready,
		"registration": func(r *http.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
			defer cancel()
			return p.scope.Registered(ctx)
		},
	}
	for name, check := range checks {
		if err := p.mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("setting up health checks: %w", err)
		}
	}
	if err := p.mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("setting up health checks: %w", err)
	}
	return nil
}

// bucketCheck writes to the bucket now and then.
type bucketCheck struct {
	check func(context.Context) error

	lastMu sync.Mutex // guards last and at, and lets one check run at a time
	last   error
	at     time.Time
}

func (b *bucketCheck) ready(r *http.Request) error {
	b.lastMu.Lock()
	defer b.lastMu.Unlock()
	if time.Since(b.at) < bucketEvery && b.last == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	b.last, b.at = b.check(ctx), time.Now()
	return b.last
}
