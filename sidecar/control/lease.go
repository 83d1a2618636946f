package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

const (
	// leaseFresh is how long a lease is used without asking again, so that a burst of connections is one call. A
	// rotated password or a withdrawn grant is seen after it at the latest.
	leaseFresh = 2 * time.Second
	// leaseTimeout bounds the call when nothing is held, leaseTimeoutHeld when a lease stands that would do.
	leaseTimeout     = 10 * time.Second
	leaseTimeoutHeld = 2 * time.Second
)

var _ session.Credentials = (*Client)(nil)

type leaseKey struct{ policy, target string }

// leases holds credentials in memory, nowhere else.
type leases struct {
	mu   sync.Mutex // guards held, not what is in it
	held map[leaseKey]*held
}

// held is one target's lease; its lock is held during the call, so that connections at once are one call.
type held struct {
	lock  chan struct{}
	lease *session.Lease
	asked time.Time
}

// Lease asks the broker for the credential and falls back on a lease that stands only where the broker cannot be
// reached; a refusal ends the one that is held.
func (c *Client) Lease(ctx context.Context, policy, target string) (*session.Lease, error) {
	h := c.leases.of(leaseKey{policy, target})
	select {
	case h.lock <- struct{}{}:
		defer func() { <-h.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the credential of target %s of policy %s: %w", target, policy, ctx.Err())
	}
	now := c.options.Clock()
	stands := h.lease != nil && now.Before(h.lease.NotAfter)
	if stands && now.Sub(h.asked) < leaseFresh {
		return h.lease, nil
	}
	timeout := leaseTimeout
	if stands {
		timeout = leaseTimeoutHeld
	}
	call, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := c.broker.Lease(call, &controlpb.LeaseRequest{Policy: policy, Target: target})
	switch {
	case err == nil:
		h.asked, h.lease = now, leaseOf(r)
		if !now.Before(h.lease.NotAfter) {
			h.lease = nil
			return nil, fmt.Errorf("the credential of target %s of policy %s is already over; is the node's clock right?", target, policy)
		}
		return h.lease, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("asking for the credential of target %s of policy %s: %w", target, policy, ctx.Err())
	case !undecided(err):
		h.lease = nil
		return nil, fmt.Errorf("the credential of target %s of policy %s: %s", target, policy, words(err))
	case stands:
		h.asked = now
		return h.lease, nil
	}
	h.lease = nil
	return nil, fmt.Errorf("the credential of target %s of policy %s: the operator cannot be reached and no lease stands (%s); try again later",
		target, policy, words(err))
}

func leaseOf(r *controlpb.LeaseResponse) *session.Lease {
	return &session.Lease{
		Username: r.GetUsername(), Password: r.GetPassword(),
		CertificatePEM: r.GetCertificatePem(), KeyPEM: r.GetKeyPem(), Token: r.GetToken(),
		CAPEM: r.GetCaPem(), ServerName: r.GetServerName(),
		NotAfter: time.UnixMilli(r.GetNotAfterUnixMs()),
	}
}

func (l *leases) of(key leaseKey) *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[key]
	if h == nil {
		h = &held{lock: make(chan struct{}, 1)}
		l.held[key] = h
	}
	return h
}

// undecided says that the operator did not speak about the credential: it is away, it is overrun, or the token was
// just being renewed. A lease that is held may then be used.
func undecided(err error) bool {
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Unauthenticated:
		return true
	}
	return away(err)
}

var _ session.Certifier = (*Client)(nil)

// Certify has the broker sign a key. A certificate is for one connection, so none is held: without the broker there is
// none.
func (c *Client) Certify(ctx context.Context, policy, target, user string, publicKey []byte) (*session.Lease, error) {
	call, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	r, err := c.broker.Lease(call, &controlpb.LeaseRequest{Policy: policy, Target: target, SshUser: user, SshPublicKey: publicKey})
	if err != nil {
		if undecided(err) {
			return nil, fmt.Errorf("the operator cannot be reached, which signs one for each connection (%s); try again later", words(err))
		}
		return nil, fmt.Errorf("the certificate authority of target %s of policy %s: %s", target, policy, words(err))
	}
	return leaseOf(r), nil
}
