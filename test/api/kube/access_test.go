package kube_test

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// guarded lets people grant the use of the API server for an hour.
func guarded(p *policy.Policy) {
	p.Targets[0].Access = &policy.Access{
		Approval:           &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: 300},
		MaxDurationSeconds: 3600,
	}
}

func TestAccessIsGrantedForATime(t *testing.T) {
	configMap(t, "guarded")
	s := front(t, allowing(), guarded)
	done := make(chan result, 1)
	go func() { done <- kubectl(t, s, "get", "configmap", "guarded", "-o", "name") }()
	ask := next(t, s, 1)
	if ask.Verdict.Rule != policy.RuleAccess || ask.Verdict.Generation != 3 || ask.Text != "use the API server of target cluster for 1h0m0s" {
		t.Errorf("%+v", ask)
	}
	s.Desk.Decide(1, "Approved", "")
	if got := <-done; got.code != 0 || got.stdout != "configmap/guarded\n" {
		t.Fatalf("%+v", got)
	}
	// kubectl connects anew each time.
	if got := kubectl(t, s, "get", "configmap", "guarded", "-o", "name"); got.code != 0 {
		t.Errorf("while it stands: %+v", got)
	}
	if n := len(s.Log.Find(record.KindApproval, nil)); n != 2 {
		t.Errorf("%d events of approvals, want that it was asked and granted", n)
	}
}

func TestAccessIsNotAskedForUnderAudit(t *testing.T) {
	configMap(t, "audited")
	s := front(t, allowing(), guarded, func(p *policy.Policy) { p.Enforcement = policy.Audit })
	if got := kubectl(t, s, "get", "configmap", "audited", "-o", "name"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	noted := s.Log.Find(record.KindCommand, func(e record.Event) bool { return e.Rule == policy.RuleAccess })
	if len(noted) == 0 || noted[0].Audited != string(policy.RequireApproval) {
		t.Errorf("recorded %+v", noted)
	}
}
