package kube

import (
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

func TestAccessLastsNoLongerThanItWasGrantedFor(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		seconds  int64
		notAfter time.Time
		want     time.Time
	}{
		"an approver grants less than the policy": {3600, now.Add(time.Minute), now.Add(time.Minute)},
		"the policy allows less than is granted":  {60, now.Add(time.Hour), now.Add(time.Minute)},
		"only the policy bounds it":               {60, time.Time{}, now.Add(time.Minute)},
		"only the approver does":                  {0, now.Add(time.Minute), now.Add(time.Minute)},
		"nobody does":                             {0, time.Time{}, time.Time{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := lasts(policy.AccessDemand{MaxDurationSeconds: tc.seconds}, &session.Grant{NotAfter: tc.notAfter}, now); !got.Equal(tc.want) {
				t.Errorf("until %s, want %s", got, tc.want)
			}
		})
	}
}
