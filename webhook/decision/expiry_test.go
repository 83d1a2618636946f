package decision

import (
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	decisions "github.com/chaperone-dev/chaperone/controllers/decision"
)

func TestADecisionThatRacesWithTheExpiry(t *testing.T) {
	key := []byte("a key that only the operator has")
	expires := time.Date(2026, 3, 1, 12, 15, 0, 0, time.UTC)
	alice := authenticationv1.UserInfo{Username: "alice", Groups: []string{"dba"}}
	for name, c := range map[string]struct {
		verdict            v1alpha1.DecisionVerdict
		stamped, validated time.Duration // after the expiry
		says               string        // "" where it is taken
	}{
		"an approval stamped and validated a millisecond before":    {v1alpha1.VerdictApprove, -time.Millisecond, -time.Millisecond, ""},
		"an approval stamped before and validated in the moment":    {v1alpha1.VerdictApprove, -time.Millisecond, 0, "too late, it is expired"},
		"an approval stamped before by a clock that is behind":      {v1alpha1.VerdictApprove, -30 * time.Second, time.Millisecond, "too late, it is expired"},
		"an approval stamped and validated in the moment":           {v1alpha1.VerdictApprove, 0, 0, "too late, it is expired"},
		"an approval stamped at it, validated by a clock behind it": {v1alpha1.VerdictApprove, 0, -time.Second, ""}, // and counts for nothing
		"a denial a millisecond before":                             {v1alpha1.VerdictDeny, -time.Millisecond, -time.Millisecond, ""},
		"a denial in the moment":                                    {v1alpha1.VerdictDeny, 0, 0, "too late, it is expired"},
	} {
		t.Run(name, func(t *testing.T) {
			old := &v1alpha1.ApprovalRequest{}
			old.Namespace, old.Name, old.UID = "agents", "worker-1", "uid-1"
			old.Spec.Command.SHA256 = strings.Repeat("ab", 32)
			old.Spec.Approval.Required = 1
			old.Spec.ExpiresAt = metav1.NewTime(expires)
			entry := Entry(v1alpha1.Decision{Verdict: c.verdict}, alice, expires.Add(c.stamped))
			entry.MAC = decisions.Sign(key, old, entry)
			request := old.DeepCopy()
			request.Spec.Decisions = append(request.Spec.Decisions, entry)
			a := &Authority{Key: func() []byte { return key }, Now: func() time.Time { return expires.Add(c.validated) }}
			got := a.entry(request, old, entry, alice)
			if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
				t.Fatalf("got %q, want %q", got, c.says)
			}
			for _, at := range []time.Duration{0, time.Millisecond, time.Hour} {
				if phase := decisions.Evaluate(request, key, expires.Add(at)).Phase; phase == v1alpha1.PhaseApproved {
					t.Errorf("%s after the expiry it releases a command", at)
				}
			}
		})
	}
}
