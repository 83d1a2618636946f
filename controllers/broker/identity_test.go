package broker

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

func TestIdentifyTakesOnlyATokenBoundToAPod(t *testing.T) {
	good := func() *authenticationv1.TokenReviewStatus {
		return &authenticationv1.TokenReviewStatus{
			Authenticated: true,
			Audiences:     []string{layout.TokenAudience},
			User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:agents:default",
				Extra: map[string]authenticationv1.ExtraValue{
					"authentication.kubernetes.io/pod-name": {"agent"},
					"authentication.kubernetes.io/pod-uid":  {"uid-1"},
				},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(*authenticationv1.TokenReviewStatus)
		want   string
	}{
		"a sidecar's own token":               {func(*authenticationv1.TokenReviewStatus) {}, ""},
		"one that is not authenticated":       {func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false }, "not valid"},
		"one for another audience":            {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"api"} }, "not for audience"},
		"one whose audience was not checked":  {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil }, "not for audience"},
		"a person's":                          {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "alice" }, "not a service account's"},
		"a name that only looks like one":     {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "agents:default" }, "not a service account's"},
		"one that is not bound to a pod":      {func(s *authenticationv1.TokenReviewStatus) { s.User.Extra = nil }, "not bound to a pod"},
		"one that names a pod without a uid":  {func(s *authenticationv1.TokenReviewStatus) { delete(s.User.Extra, extraPodUID) }, "not bound to a pod"},
		"one that names two pods":             {func(s *authenticationv1.TokenReviewStatus) { s.User.Extra[extraPodName] = []string{"a", "b"} }, "not bound to a pod"},
		"one with an error beside its answer": {func(s *authenticationv1.TokenReviewStatus) { s.Authenticated, s.Error = false, "expired" }, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			review := good()
			c.change(review)
			id, err := identify(review)
			if c.want == "" {
				if want := (Identity{Namespace: "agents", Pod: "agent", UID: "uid-1", ServiceAccount: "default"}); err != nil || id != want {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want %q", id, err, c.want)
			}
		})
	}
}
