package notification_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/notification"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

func request(phase v1alpha1.ApprovalPhase) *v1alpha1.ApprovalRequest {
	ar := &v1alpha1.ApprovalRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "billing-agent-1", UID: "3a"}}
	ar.Spec.Pod = v1alpha1.RequestingPod{Name: "billing-agent", UID: "4b", ServiceAccount: "billing"}
	ar.Spec.Policy = v1alpha1.PolicyReference{Name: "billing", UID: "5c", Generation: 2}
	ar.Spec.Rule, ar.Spec.Target, ar.Spec.Protocol = "unfiltered-writes", "billing", "postgres"
	ar.Spec.Command = v1alpha1.RequestedCommand{Text: "DELETE FROM customers", Length: 21, SHA256: strings.Repeat("0", 64)}
	ar.Spec.Approval.Required = 2
	ar.Spec.Justification = "ticket 4711"
	ar.Spec.ExpiresAt = metav1.NewTime(began.Add(15 * time.Minute))
	ar.Status.Phase = phase
	return ar
}

func TestAPendingRequestSaysHowToDecideIt(t *testing.T) {
	e := notification.Of(request(v1alpha1.PhasePending), "cluster-1", began)
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	// What CloudEvents 1.0 requires, and what it says of their form (section 2).
	for attribute, want := range map[string]string{
		"specversion": "1.0", "id": "3a.pending", "source": "cluster-1", "type": "dev.chaperone.approvalrequest.pending",
		"subject": "namespaces/agents/approvalrequests/billing-agent-1", "time": "2026-03-01T11:00:00Z", "datacontenttype": "application/json",
	} {
		if got[attribute] != want {
			t.Errorf("%s is %v, want %s", attribute, got[attribute], want)
		}
	}
	if want := `kubectl patch apr billing-agent-1 -n agents --type=merge -p '{"spec":{"decision":{"verdict":"Approve","reason":"..."}}}'`; e.Data.Approve != want {
		t.Errorf("approve: %s", e.Data.Approve)
	}
	if !strings.Contains(e.Data.Deny, `"verdict":"Deny"`) {
		t.Errorf("deny: %s", e.Data.Deny)
	}
	want := "pod agents/billing-agent at target billing (rule unfiltered-writes of policy billing) waits for 2 approval(s) until 2026-03-01T11:15:00Z: DELETE FROM customers. Decide: " + e.Data.Approve
	if e.Data.Message != want {
		t.Errorf("message: %s", e.Data.Message)
	}
	if e.Data.Justification != "ticket 4711" {
		t.Errorf("justification: %s", e.Data.Justification)
	}
}

func TestADecidedRequestSaysWhoAndWhyAndAsksNobody(t *testing.T) {
	ar := request(v1alpha1.PhaseDenied)
	ar.Status.Message = "denied by bob: no\x1b[2J"
	ar.Spec.Decisions = []v1alpha1.StampedDecision{{User: "bob", Verdict: v1alpha1.VerdictDeny, Reason: "no\x1b[2J", Time: metav1.NewTime(began), MAC: strings.Repeat("a", 64)}}
	e := notification.Of(ar, "cluster-1", began)
	if e.ID != "3a.denied" || e.Type != "dev.chaperone.approvalrequest.denied" {
		t.Errorf("%s %s", e.ID, e.Type)
	}
	if e.Data.Approve != "" || e.Data.Deny != "" {
		t.Error("asks for a decision")
	}
	if want := `pod agents/billing-agent at target billing (rule unfiltered-writes of policy billing): denied by bob: no\x1b[2J: DELETE FROM customers`; e.Data.Message != want {
		t.Errorf("message: %s", e.Data.Message)
	}
	if len(e.Data.Decisions) != 1 || e.Data.Decisions[0].Reason != `no\x1b[2J` {
		t.Errorf("decisions: %+v", e.Data.Decisions)
	}
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), strings.Repeat("a", 64)) {
		t.Error("a decision's MAC leaves the cluster")
	}
}
