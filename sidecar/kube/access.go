package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// grants are accesses that stand.
type grants struct {
	mu    sync.Mutex // guards until and asking
	until map[string]time.Time
	// asking is held by whoever asks people for a target, so that requests at once are one question.
	asking map[string]chan struct{}
}

// stands tells whether access to the target stands, and until when. Where it does not, the caller is the one to ask, and
// calls unlock when it has; one whose ctx ends meanwhile is too.
func (g *grants) stands(ctx context.Context, demand policy.AccessDemand, now time.Time) (until time.Time, granted bool, unlock func()) {
	key := demand.Policy + "\x00" + demand.Target
	g.mu.Lock()
	if g.until == nil {
		g.until, g.asking = make(map[string]time.Time), make(map[string]chan struct{})
	}
	turn := g.asking[key]
	if turn == nil {
		turn = make(chan struct{}, 1)
		g.asking[key] = turn
	}
	g.mu.Unlock()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return time.Time{}, false, func() {}
	}
	unlock = func() { <-turn }
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.until[key]
	if known && (at.IsZero() || now.Before(at)) {
		unlock()
		return at, true, nil
	}
	return time.Time{}, false, unlock
}

// keep notes that access is granted until then.
func (g *grants) keep(demand policy.AccessDemand, until time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until[demand.Policy+"\x00"+demand.Target] = until
	return until
}

func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// refusals remembers for a moment what people did not approve, for clients that try the same over their other transport
// at once (client-go falls back from WebSocket to SPDY): they are not asked twice.
type refusals struct {
	mu   sync.Mutex // guards last
	last map[string]refused
}

type refused struct {
	at     time.Time
	answer *refusal
}

const (
	// fallback is how soon a client's second try comes.
	fallback = 5 * time.Second
	// maxRefusals is more than a pod's clients try at once.
	maxRefusals = 64
)

// note keeps the answer to a session that came over a WebSocket.
func (r *refusals) note(x *exchange, v policy.Verdict, answer *refusal) {
	if x.r.Method != http.MethodGet || x.request.Exec == nil && !x.request.Forward {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || len(r.last) >= maxRefusals {
		r.last = make(map[string]refused)
	}
	r.last[v.Policy+v.Rule+x.digest] = refused{time.Now(), answer}
}

// recent returns the answer that the same session got a moment ago, once.
func (r *refusals) recent(x *exchange, v policy.Verdict) *refusal {
	if x.r.Method != http.MethodPost || x.request.Exec == nil && !x.request.Forward {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := v.Policy + v.Rule + x.digest
	before, known := r.last[key]
	delete(r.last, key)
	if !known || time.Since(before.at) > fallback {
		return nil
	}
	return before.answer
}
