package broker

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// admissionGrace is how long a session that was granted once may take to lease its credential, where the request
// expires meanwhile.
const admissionGrace = time.Minute

// guardsSessions tells whether the target's credential is leased only while a grant of access stands.
func guardsSessions(ap *v1alpha1.AgentPolicy, target *v1alpha1.Target) bool {
	return target.Access != nil && target.Access.Approval != nil && ap.Spec.Enforcement != v1alpha1.EnforcementAudit
}

// granted is the answer to a command or session that may run now. What a session gets is how long it may last.
func (b *Broker) granted(a *ask, request string, outcome decision.Outcome) *controlpb.ApproveResponse {
	out := reply(controlpb.ApproveResponse_STATE_APPROVED, request, outcome)
	if a.rule != policy.RuleAccess {
		return out
	}
	out.NotAfterUnixMs = 0
	if end := accessEnds(outcome, b.Clock.Now(), duration(a.most)); !end.IsZero() {
		out.NotAfterUnixMs = end.UnixMilli()
	}
	return out
}

// accessEnds is when a session has to end that was begun at that time under a grant; zero for one without an end. A
// grant for a duration is for sessions within it; one for one use is for a session of at most most.
func accessEnds(outcome decision.Outcome, begun time.Time, most time.Duration) time.Time {
	switch {
	case outcome.Reusable:
		return outcome.GrantExpiresAt
	case most > 0:
		return begun.Add(most)
	}
	return time.Time{}
}

// standing tells until when a grant of access to the target stands for the caller's pod: one that was used to begin a
// session, is not withdrawn and not over.
func (b *Broker) standing(ctx context.Context, c *caller, ap *v1alpha1.AgentPolicy, target *v1alpha1.Target) (until time.Time, request string, err error) {
	list := &v1alpha1.ApprovalRequestList{}
	if err := b.requests.client.List(ctx, list, client.InNamespace(ap.Namespace), client.MatchingLabels{LabelPolicy: naming.Label(ap.Name)}); err != nil {
		return time.Time{}, "", unavailable("listing the grants of access", err)
	}
	now := b.Clock.Now()
	most := duration(target.Access.MaxDuration)
	for _, ar := range b.requests.known(list.Items, ap.Namespace) {
		if ar.Spec.Rule != policy.RuleAccess || ar.Spec.Target != target.Name || ar.Spec.Policy.UID != ap.UID || ar.Status.Uses == 0 || !b.covers(ctx, c, ar) {
			continue
		}
		outcome := decision.Evaluate(ar, b.DecisionKey, now)
		if outcome.Phase != v1alpha1.PhaseApproved && outcome.Phase != v1alpha1.PhaseUsed {
			continue
		}
		begun := usedAt(ar)
		end := accessEnds(outcome, begun, most)
		if end.IsZero() {
			end = outcome.GrantExpiresAt
			if grace := begun.Add(admissionGrace); grace.After(end) {
				end = grace
			}
		}
		if end.After(until) {
			until, request = end, ar.Name
		}
	}
	if !until.After(now) {
		return time.Time{}, "", status.Errorf(codes.PermissionDenied,
			"sessions to target %s need an approval (access.approval of policy %s/%s), and no grant stands for this pod", target.Name, ap.Namespace, ap.Name)
	}
	return until, request, nil
}

// covers tells whether a request's grant is for the caller: its own, or its workload's where the rule says so.
func (b *Broker) covers(ctx context.Context, c *caller, ar *v1alpha1.ApprovalRequest) bool {
	pod := &ar.Spec.Pod
	if pod.UID == c.UID {
		return true
	}
	return ar.Spec.Approval.Scope == scopeWorkload && pod.Owner != "" && pinned(c.pod) && pod.ServiceAccount == c.ServiceAccount &&
		pod.Owner == b.owners.of(ctx, c.pod) && slices.Equal(pod.Images, images(c.pod))
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}
