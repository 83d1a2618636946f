package decision

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Outcome is what the decisions of a request amount to at one moment.
type Outcome struct {
	// Phase is Pending, Approved (a grant that may be used now), Denied, Expired or Used.
	Phase v1alpha1.ApprovalPhase
	// Approvals counts the distinct people whose approval counts.
	Approvals int32
	// Deciders are those people in the order of their decisions; for Denied the one who denied.
	Deciders []string
	// Reusable is true for a grant that may be used any number of times until GrantExpiresAt; otherwise it is
	// for one use.
	Reusable bool
	// GrantExpiresAt ends the grant. Zero unless enough people approved.
	GrantExpiresAt time.Time
	// Message says the same in a sentence, for the agent and for status.
	Message string
}

// Evaluate counts the decisions of a request that carry a valid MAC and were made in time by eligible people. It
// reads spec.decisions, spec.approval, spec.expiresAt and status.uses, never status.phase. One denial wins over
// any number of approvals, before and after the quorum: a denial of what was approved withdraws the grant.
//
// The grant lasts until the request's expiry and is for one use, unless every approver gave a duration: then it
// may be used until the shortest of these, counted from that approval, is over. No duration is longer than
// spec.approval.maxDuration; without one, none goes past the expiry.
func Evaluate(request *v1alpha1.ApprovalRequest, key []byte, now time.Time) Outcome {
	counted := count(request, key)
	if counted.denial != nil {
		return Outcome{
			Phase:     v1alpha1.PhaseDenied,
			Approvals: int32(len(counted.approvals)),
			Deciders:  []string{counted.denial.User},
			Message:   "denied by " + counted.denial.User + because(counted.denial.Reason),
		}
	}
	required := max(request.Spec.Approval.Required, 1)
	out := Outcome{Approvals: int32(len(counted.approvals))}
	for _, entry := range counted.approvals {
		out.Deciders = append(out.Deciders, entry.User)
	}
	expires := request.Spec.ExpiresAt.Time
	if out.Approvals < required {
		out.Phase = v1alpha1.PhasePending
		out.Message = fmt.Sprintf("%d of %d approvals until %s", out.Approvals, required, stamp(expires))
		if !now.Before(expires) {
			out.Phase = v1alpha1.PhaseExpired
			out.Message = fmt.Sprintf("expired at %s with %d of %d approvals", stamp(expires), out.Approvals, required)
		}
		return out
	}
	out.GrantExpiresAt, out.Reusable = grant(counted.approvals, request.Spec.Approval.MaxDuration, expires)
	by := "approved by " + strings.Join(out.Deciders, ", ")
	switch {
	case request.Status.Uses > 0 && !out.Reusable:
		out.Phase, out.Message = v1alpha1.PhaseUsed, by+", and used"
	case !now.Before(out.GrantExpiresAt) && request.Status.Uses > 0:
		out.Phase, out.Message = v1alpha1.PhaseUsed, by+" until "+stamp(out.GrantExpiresAt)+", and used"
	case !now.Before(out.GrantExpiresAt):
		out.Phase, out.Message = v1alpha1.PhaseExpired, by+", and not used until "+stamp(out.GrantExpiresAt)
	case out.Reusable:
		out.Phase, out.Message = v1alpha1.PhaseApproved, by+" until "+stamp(out.GrantExpiresAt)
	default:
		out.Phase, out.Message = v1alpha1.PhaseApproved, by+" for one use until "+stamp(out.GrantExpiresAt)
	}
	return out
}

// Decided reports whether that user has a decision on the request that counts.
func Decided(request *v1alpha1.ApprovalRequest, key []byte, user string) bool {
	for i := range request.Spec.Decisions {
		if request.Spec.Decisions[i].User == user && Verify(key, request, i) {
			return true
		}
	}
	return false
}

type tally struct {
	approvals []v1alpha1.StampedDecision // one a person, the first counts
	denial    *v1alpha1.StampedDecision
}

func count(request *v1alpha1.ApprovalRequest, key []byte) tally {
	var t tally
	seen := make(map[string]bool)
	for i := range request.Spec.Decisions {
		entry := request.Spec.Decisions[i]
		if !Verify(key, request, i) || Eligible(request.Spec.Approval, entry.User, entry.Groups) != "" {
			continue
		}
		if entry.Verdict == v1alpha1.VerdictDeny {
			if t.denial == nil {
				t.denial = &request.Spec.Decisions[i]
			}
			continue
		}
		inTime := entry.Time.Time.Before(request.Spec.ExpiresAt.Time)
		if entry.Verdict != v1alpha1.VerdictApprove || !inTime || seen[entry.User] {
			continue
		}
		seen[entry.User] = true
		t.approvals = append(t.approvals, entry)
	}
	return t
}

func grant(approvals []v1alpha1.StampedDecision, most *metav1.Duration, expires time.Time) (until time.Time, reusable bool) {
	var end time.Time
	reusable = true
	for _, entry := range approvals {
		if entry.Duration == nil {
			reusable = false
			continue
		}
		given := entry.Duration.Duration
		if most != nil {
			given = min(given, most.Duration)
		}
		if e := entry.Time.Add(given); end.IsZero() || e.Before(end) {
			end = e
		}
	}
	if end.IsZero() || end.After(expires) && (most == nil || !reusable) {
		end = expires
	}
	return end, reusable
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
