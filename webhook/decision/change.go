package decision

import (
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	decisions "github.com/chaperone-dev/chaperone/controllers/decision"
)

// skew is how far apart the clocks of two replicas may be: the one that stamped and the one that validates.
const skew = time.Minute

// own begins the labels and annotations that the operator finds requests by.
const own = "chaperone.dev/"

// unchanged checks all of the object but the decisions. trusted callers may change metadata.
func unchanged(request, old *v1alpha1.ApprovalRequest, trusted bool) string {
	is, was := request.Spec.DeepCopy(), old.Spec.DeepCopy()
	is.Decision, was.Decision = nil, nil
	is.Decisions, was.Decisions = nil, nil
	if !apiequality.Semantic.DeepEqual(is, was) {
		return "a request cannot be changed; the only field to write is spec.decision"
	}
	if trusted {
		return ""
	}
	switch {
	case !apiequality.Semantic.DeepEqual(request.OwnerReferences, old.OwnerReferences):
		return "metadata.ownerReferences cannot be changed"
	case !apiequality.Semantic.DeepEqual(request.Finalizers, old.Finalizers):
		return "metadata.finalizers cannot be changed"
	}
	if key := changedKey(request.Labels, old.Labels); key != "" {
		return fmt.Sprintf("label %s cannot be changed", key)
	}
	if key := changedKey(request.Annotations, old.Annotations); key != "" {
		return fmt.Sprintf("annotation %s cannot be changed", key)
	}
	return ""
}

// changedKey returns a key of ours that differs between the two.
func changedKey(is, was map[string]string) string {
	for _, maps := range [][2]map[string]string{{is, was}, {was, is}} {
		for key, value := range maps[0] {
			if other, ok := maps[1][key]; strings.HasPrefix(key, own) && (!ok || other != value) {
				return key
			}
		}
	}
	return ""
}

// appended returns the one entry that the request has beyond old, nil for none.
func (a *Authority) appended(request, old *v1alpha1.ApprovalRequest) (*v1alpha1.StampedDecision, string) {
	if request.Spec.Decision != nil {
		return nil, "spec.decision was set again after it had been stamped, or its webhook did not run; decide again"
	}
	is, was := request.Spec.Decisions, old.Spec.Decisions
	if len(is) < len(was) || !apiequality.Semantic.DeepEqual(is[:len(was)], was) {
		return nil, "spec.decisions keeps what was decided; write spec.decision"
	}
	switch len(is) - len(was) {
	case 0:
		return nil, ""
	case 1:
		return &is[len(was)], ""
	}
	return nil, "one decision at a time; write spec.decision"
}

// entry checks the new entry against who asks and what stood before.
func (a *Authority) entry(request, old *v1alpha1.ApprovalRequest, entry v1alpha1.StampedDecision, user authenticationv1.UserInfo) string {
	now := a.Now()
	want := Entry(v1alpha1.Decision{Verdict: entry.Verdict, Reason: entry.Reason, Duration: entry.Duration}, user, entry.Time.Time)
	want.MAC = entry.MAC
	switch age := now.Sub(entry.Time.Time); {
	case !apiequality.Semantic.DeepEqual(want, entry):
		return fmt.Sprintf("spec.decisions is stamped with the user who decides, and that is %s; write spec.decision", user.Username)
	case !decisions.Verify(a.Key(), request, len(old.Spec.Decisions)):
		return "spec.decisions is written by admission alone; write spec.decision"
	case age > skew || age < -skew:
		return "the decision was stamped at another time; decide again"
	}
	if reason := decisions.Eligible(old.Spec.Approval, user.Username, user.Groups); reason != "" {
		return reason
	}
	if d := entry.Duration; d != nil && d.Duration <= 0 {
		return "spec.decision.duration must be longer than 0; leave it out for a grant for one use"
	}
	if d := entry.Duration; d != nil && entry.Verdict == v1alpha1.VerdictDeny {
		return "spec.decision.duration belongs to verdict Approve"
	}
	if d, most := entry.Duration, old.Spec.Approval.MaxDuration; d != nil && most != nil && d.Duration > most.Duration {
		return fmt.Sprintf("spec.decision.duration is %s, and the policy grants %s at most (spec.approval.maxDuration)", d.Duration, most.Duration)
	}
	if decisions.Decided(old, a.Key(), user.Username) {
		return fmt.Sprintf("user %s has decided already; a grant is withdrawn by deleting the request, or by another approver's denial", user.Username)
	}
	return a.late(old, entry.Verdict, now)
}

// late refuses what comes after the end. A denial of what was approved and may still be used is in time: it
// withdraws the grant.
func (a *Authority) late(old *v1alpha1.ApprovalRequest, verdict v1alpha1.DecisionVerdict, now time.Time) string {
	outcome := decisions.Evaluate(old, a.Key(), now)
	switch {
	case outcome.Phase == v1alpha1.PhasePending:
		return ""
	case outcome.Phase == v1alpha1.PhaseApproved && verdict == v1alpha1.VerdictDeny:
		return ""
	}
	return fmt.Sprintf("too late, it is %s: %s", strings.ToLower(string(outcome.Phase)), outcome.Message)
}

func (a *Authority) pending(request *v1alpha1.ApprovalRequest) bool {
	return decisions.Evaluate(request, a.Key(), a.Now()).Phase == v1alpha1.PhasePending
}
