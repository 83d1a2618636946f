package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// reviewer answers TokenReviews: tokens that begin with "pod" are a pod's. Reviews wait for go on where it is there.
type reviewer struct {
	client.Client
	goOn chan struct{}

	mu         sync.Mutex // guards what follows
	asked      int
	under, top int
}

func (r *reviewer) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	review, ok := obj.(*authenticationv1.TokenReview)
	if !ok {
		return errors.New("not a review")
	}
	r.mu.Lock()
	r.asked++
	r.under++
	r.top = max(r.top, r.under)
	r.mu.Unlock()
	if r.goOn != nil {
		<-r.goOn
	}
	r.mu.Lock()
	r.under--
	r.mu.Unlock()
	if name, found := strings.CutPrefix(review.Spec.Token, "pod"); found {
		review.Status = authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: []string{layout.TokenAudience},
			User: authenticationv1.UserInfo{Username: "system:serviceaccount:agents:default", Extra: map[string]authenticationv1.ExtraValue{
				extraPodName: {name}, extraPodUID: {name},
			}},
		}
	}
	return nil
}

func (r *reviewer) underWay() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.under
}

func TestReviews(t *testing.T) {
	const gateway = "192.0.2.1"
	start := func(api *reviewer) *reviews { return newReviews(api, clock.RealClock{}, logr.Discard()) }

	t.Run("let every pod of a node in that comes from one address", func(t *testing.T) {
		r := start(&reviewer{})
		for i := range 20 * refusalsBurst {
			if id, err := r.review(t.Context(), fmt.Sprintf("pod-%d.a.b", i), gateway); err != nil || id.Namespace != "agents" {
				t.Fatalf("pod %d: %+v, %v", i, id, err)
			}
		}
	})
	t.Run("charge an address for what is refused, ask no more then, and leave others alone", func(t *testing.T) {
		api := &reviewer{}
		r := start(api)
		exhausted := 0
		for i := range 20 * refusalsBurst {
			switch _, err := r.review(t.Context(), fmt.Sprintf("made-up-%d.a.b", i), gateway); status.Code(err) {
			case codes.Unauthenticated:
			case codes.ResourceExhausted:
				exhausted++
			default:
				t.Fatal(err)
			}
		}
		if exhausted == 0 || api.asked+exhausted != 20*refusalsBurst {
			t.Errorf("%d asked of the API server, %d refused without", api.asked, exhausted)
		}
		if _, err := r.review(t.Context(), "pod-1.a.b", "192.0.2.2"); err != nil {
			t.Errorf("another address: %v", err)
		}
	})
	t.Run("remember a refusal and charge it once", func(t *testing.T) {
		api := &reviewer{}
		r := start(api)
		for range 20 * refusalsBurst {
			if _, err := r.review(t.Context(), "made-up.a.b", gateway); status.Code(err) != codes.Unauthenticated {
				t.Fatal(err)
			}
		}
		if api.asked != 1 {
			t.Errorf("the API server was asked %d times", api.asked)
		}
	})
	t.Run("leave half of the reviews at once to other addresses", func(t *testing.T) {
		api := &reviewer{goOn: make(chan struct{})}
		r := start(api)
		var all sync.WaitGroup
		begin := func(count int, from string) {
			for i := range count {
				all.Go(func() {
					if _, err := r.review(t.Context(), fmt.Sprintf("pod-%d-%d.a.b", i, len(from)), from); err != nil {
						t.Errorf("from %s: %v", from, err)
					}
				})
			}
		}
		until := func(count int) {
			t.Helper()
			waitFor(t, fmt.Sprintf("%d reviews under way", count), func() bool { return api.underWay() == count })
		}
		begin(2*maxAtOnce, gateway)
		until(maxAtOnceFrom)
		begin(maxAtOnce-maxAtOnceFrom, "192.0.2.200")
		until(maxAtOnce)
		close(api.goOn)
		all.Wait()
		if api.top != maxAtOnce {
			t.Errorf("%d reviews at once", api.top)
		}
	})
	t.Run("charge all of a flood that was under way at once", func(t *testing.T) {
		api := &reviewer{goOn: make(chan struct{})}
		r := start(api)
		var all sync.WaitGroup
		for i := range 20 * refusalsBurst {
			all.Go(func() { _, _ = r.review(t.Context(), fmt.Sprintf("made-up-%d.a.b", i), gateway) })
		}
		waitFor(t, "reviews under way", func() bool { return api.underWay() == maxAtOnceFrom })
		close(api.goOn)
		all.Wait()
		// What came by while the last of the burst were under way, and what the seconds that this takes give back.
		if api.asked >= 10*refusalsBurst {
			t.Errorf("the API server was asked %d times", api.asked)
		}
	})
}
