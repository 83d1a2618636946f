package decision_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
)

var (
	key   = []byte("a key that only the operator has")
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// request expires a quarter of an hour after start.
func request(required int32) *v1alpha1.ApprovalRequest {
	r := &v1alpha1.ApprovalRequest{}
	r.Namespace, r.Name, r.UID = "agents", "worker-1", "uid-1"
	r.Spec.Command.SHA256 = strings.Repeat("ab", 32)
	r.Spec.Approval.Required = required
	r.Spec.ExpiresAt = metav1.NewTime(start.Add(15 * time.Minute))
	return r
}

type entry struct {
	verdict  v1alpha1.DecisionVerdict
	user     string
	groups   []string
	after    time.Duration
	duration time.Duration
}

// decide appends a signed entry.
func decide(r *v1alpha1.ApprovalRequest, e entry) {
	d := v1alpha1.StampedDecision{Verdict: e.verdict, User: e.user, Groups: e.groups, Time: metav1.NewTime(start.Add(e.after))}
	if e.duration != 0 {
		d.Duration = &metav1.Duration{Duration: e.duration}
	}
	d.MAC = decision.Sign(key, r, d)
	r.Spec.Decisions = append(r.Spec.Decisions, d)
}

func approve(user string, groups ...string) entry {
	return entry{verdict: v1alpha1.VerdictApprove, user: user, groups: groups, after: time.Minute}
}

func deny(user string) entry {
	return entry{verdict: v1alpha1.VerdictDeny, user: user, after: 2 * time.Minute}
}

func during(e entry, d time.Duration) entry { e.duration = d; return e }

func TestEvaluate(t *testing.T) {
	cases := map[string]struct {
		required int32
		most     time.Duration
		entries  []entry
		change   func(*v1alpha1.ApprovalRequest)
		at       time.Duration
		phase    v1alpha1.ApprovalPhase
		count    int32
		grant    time.Duration
		reusable bool
		says     string
	}{
		"without decisions it is pending": {
			required: 1, phase: v1alpha1.PhasePending, says: "0 of 1 approvals until 2026-03-01T12:15:00Z",
		},
		"without decisions it expires": {
			required: 1, at: 15 * time.Minute, phase: v1alpha1.PhaseExpired, says: "expired at 2026-03-01T12:15:00Z with 0 of 1 approvals",
		},
		"one approval grants one use until the expiry": {
			required: 1, entries: []entry{approve("alice")}, at: 2 * time.Minute,
			phase: v1alpha1.PhaseApproved, count: 1, grant: 15 * time.Minute, says: "approved by alice for one use until 2026-03-01T12:15:00Z",
		},
		"a required of 0, which the schema refuses, asks for one all the same": {
			required: 0, phase: v1alpha1.PhasePending, says: "0 of 1",
		},
		"the same person twice is one": {
			required: 2, entries: []entry{approve("alice"), approve("alice")}, phase: v1alpha1.PhasePending, count: 1,
		},
		"two people are two": {
			required: 2, entries: []entry{approve("alice"), approve("bob")}, phase: v1alpha1.PhaseApproved, count: 2, grant: 15 * time.Minute,
			says: "approved by alice, bob",
		},
		"a denial wins before the quorum": {
			required: 2, entries: []entry{approve("alice"), deny("bob")}, phase: v1alpha1.PhaseDenied, count: 1, says: "denied by bob",
		},
		"a denial after the quorum withdraws the grant": {
			required: 1, entries: []entry{approve("alice"), deny("bob")}, phase: v1alpha1.PhaseDenied, count: 1, says: "denied by bob",
		},
		"a grant for one use is used": {
			required: 1, entries: []entry{approve("alice")}, change: func(r *v1alpha1.ApprovalRequest) { r.Status.Uses = 1 },
			phase: v1alpha1.PhaseUsed, count: 1, grant: 15 * time.Minute, says: "and used",
		},
		"a duration makes it reusable, from the approval on": {
			required: 1, entries: []entry{during(approve("alice"), 5*time.Minute)}, at: 3 * time.Minute,
			change: func(r *v1alpha1.ApprovalRequest) { r.Status.Uses = 7 },
			phase:  v1alpha1.PhaseApproved, count: 1, grant: 6 * time.Minute, reusable: true, says: "approved by alice until 2026-03-01T12:06:00Z",
		},
		"a reusable grant that was used and is over": {
			required: 1, entries: []entry{during(approve("alice"), 5*time.Minute)}, at: 6 * time.Minute,
			change: func(r *v1alpha1.ApprovalRequest) { r.Status.Uses = 7 },
			phase:  v1alpha1.PhaseUsed, count: 1, grant: 6 * time.Minute, reusable: true,
		},
		"a reusable grant that nobody used": {
			required: 1, entries: []entry{during(approve("alice"), 5*time.Minute)}, at: 6 * time.Minute,
			phase: v1alpha1.PhaseExpired, count: 1, grant: 6 * time.Minute, reusable: true, says: "not used",
		},
		"a duration is never longer than the request stands": {
			required: 1, entries: []entry{during(approve("alice"), 24*time.Hour)},
			phase: v1alpha1.PhaseApproved, count: 1, grant: 15 * time.Minute, reusable: true,
		},
		"the policy's longest duration goes past the expiry": {
			required: 1, entries: []entry{during(approve("alice"), 30*time.Minute)}, at: 20 * time.Minute,
			most:  time.Hour,
			phase: v1alpha1.PhaseApproved, count: 1, grant: 31 * time.Minute, reusable: true,
		},
		"no approver extends the policy's longest duration": {
			required: 1, entries: []entry{during(approve("alice"), 30*time.Hour)},
			most:  time.Hour,
			phase: v1alpha1.PhaseApproved, count: 1, grant: 61 * time.Minute, reusable: true,
		},
		"a grant for one use expires with the request, whatever the longest duration": {
			required: 1, entries: []entry{approve("alice")}, at: 15 * time.Minute,
			most:  time.Hour,
			phase: v1alpha1.PhaseExpired, count: 1, grant: 15 * time.Minute,
		},
		"the shortest of several durations counts": {
			required: 2, entries: []entry{during(approve("alice"), 10*time.Minute), during(approve("bob"), 3*time.Minute)},
			phase: v1alpha1.PhaseApproved, count: 2, grant: 4 * time.Minute, reusable: true,
		},
		"one approver's single use is for one use": {
			required: 2, entries: []entry{during(approve("alice"), 10*time.Minute), approve("bob")},
			phase: v1alpha1.PhaseApproved, count: 2, grant: 11 * time.Minute,
		},
		"an entry that carries no MAC does not count": {
			required: 1, entries: []entry{approve("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Decisions[0].MAC = "" }, phase: v1alpha1.PhasePending,
		},
		"an entry whose user was changed does not count": {
			required: 1, entries: []entry{approve("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Decisions[0].User = "bob" }, phase: v1alpha1.PhasePending,
		},
		"a denial turned into an approval does not count": {
			required: 1, entries: []entry{deny("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Decisions[0].Verdict = v1alpha1.VerdictApprove }, phase: v1alpha1.PhasePending,
		},
		"an approval of other bytes does not count": {
			required: 1, entries: []entry{approve("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Command.SHA256 = strings.Repeat("cd", 32) }, phase: v1alpha1.PhasePending,
		},
		"an approval carried to another request does not count": {
			required: 1, entries: []entry{approve("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.UID = "uid-2" }, phase: v1alpha1.PhasePending,
		},
		"a quorum that was lowered counts nobody": {
			required: 2, entries: []entry{approve("alice")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.Required = 1 }, phase: v1alpha1.PhasePending,
		},
		"taking an entry out of the middle breaks those after it": {
			required: 1, entries: []entry{deny("alice"), approve("bob")},
			change: func(r *v1alpha1.ApprovalRequest) { r.Spec.Decisions = r.Spec.Decisions[1:] }, phase: v1alpha1.PhasePending,
		},
		"an entry of nobody's between two leaves them standing": {
			required: 2, phase: v1alpha1.PhaseApproved, count: 2, grant: 15 * time.Minute,
			change: func(r *v1alpha1.ApprovalRequest) {
				decide(r, approve("alice"))
				r.Spec.Decisions = append(r.Spec.Decisions, v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove, User: "ghost", MAC: "00"})
				decide(r, approve("bob"))
			},
		},
		"service accounts, nodes and the excluded do not count, signed or not": {
			required: 1, phase: v1alpha1.PhasePending,
			change: func(r *v1alpha1.ApprovalRequest) {
				r.Spec.Approval.ExcludeApprovers = []string{"alice"}
				for _, e := range []entry{approve("alice"), approve("system:serviceaccount:agents:default"), approve("system:node:a"), approve("robot", "system:serviceaccounts")} {
					decide(r, e)
				}
			},
		},
		"outside the rule's groups does not count": {
			required: 1, phase: v1alpha1.PhaseApproved, count: 1, grant: 15 * time.Minute,
			change: func(r *v1alpha1.ApprovalRequest) {
				r.Spec.Approval.Groups = []string{"dba"}
				decide(r, approve("alice", "staff"))
				decide(r, approve("bob", "staff", "dba"))
			},
		},
		"an approval after the expiry does not count": {
			required: 1, entries: []entry{{verdict: v1alpha1.VerdictApprove, user: "alice", after: 15 * time.Minute}}, at: 16 * time.Minute,
			phase: v1alpha1.PhaseExpired,
		},
		"an approval in the second of the expiry is too late, whichever was first within it": {
			required: 1, entries: []entry{{verdict: v1alpha1.VerdictApprove, user: "alice", after: 15 * time.Minute}}, at: 15 * time.Minute,
			phase: v1alpha1.PhaseExpired,
		},
		"an approval in the second before it grants that second": {
			required: 1, entries: []entry{{verdict: v1alpha1.VerdictApprove, user: "alice", after: 15*time.Minute - time.Second}}, at: 15*time.Minute - time.Nanosecond,
			phase: v1alpha1.PhaseApproved, count: 1, grant: 15 * time.Minute,
		},
		"and releases nothing in the moment of the expiry": {
			required: 1, entries: []entry{{verdict: v1alpha1.VerdictApprove, user: "alice", after: 15*time.Minute - time.Second}}, at: 15 * time.Minute,
			phase: v1alpha1.PhaseExpired, count: 1, grant: 15 * time.Minute, says: "not used until",
		},
		"a denial in the moment of the expiry denies": {
			required: 1, entries: []entry{{verdict: v1alpha1.VerdictDeny, user: "bob", after: 15 * time.Minute}}, at: 15 * time.Minute,
			phase: v1alpha1.PhaseDenied, says: "denied by bob",
		},
		"a grant for a duration stands until the moment before its end": {
			required: 1, entries: []entry{during(approve("alice"), 5*time.Minute)}, at: 6*time.Minute - time.Nanosecond,
			phase: v1alpha1.PhaseApproved, count: 1, grant: 6 * time.Minute, reusable: true,
		},
		"a quorum whose second approval is in the moment of the expiry is none": {
			required: 2, entries: []entry{approve("alice"), {verdict: v1alpha1.VerdictApprove, user: "bob", after: 15 * time.Minute}}, at: 15 * time.Minute,
			phase: v1alpha1.PhaseExpired, count: 1, says: "with 1 of 2 approvals",
		},
		"a phase in status decides nothing": {
			required: 1, change: func(r *v1alpha1.ApprovalRequest) { r.Status.Phase = v1alpha1.PhaseApproved }, phase: v1alpha1.PhasePending,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(c.required)
			if c.most > 0 {
				r.Spec.Approval.MaxDuration = &metav1.Duration{Duration: c.most}
			}
			for _, e := range c.entries {
				decide(r, e)
			}
			if c.change != nil {
				c.change(r)
			}
			at := c.at
			if at == 0 {
				at = 2 * time.Minute
			}
			got := decision.Evaluate(r, key, start.Add(at))
			if got.Phase != c.phase || got.Approvals != c.count || got.Reusable != c.reusable || !strings.Contains(got.Message, c.says) {
				t.Errorf("got %+v", got)
			}
			if want := start.Add(c.grant); c.grant != 0 && !got.GrantExpiresAt.Equal(want) {
				t.Errorf("the grant ends at %s, want %s", got.GrantExpiresAt, want)
			}
			if c.grant == 0 && !got.GrantExpiresAt.IsZero() {
				t.Errorf("the grant ends at %s, want none", got.GrantExpiresAt)
			}
		})
	}
}

func TestSignatureSurvivesEtcd(t *testing.T) {
	r := request(1)
	r.Spec.Pod.Images = []string{"agent=sha256:1"}
	e := during(approve("alice", "staff"), 90*time.Second)
	decide(r, e)
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back v1alpha1.ApprovalRequest
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if !decision.Verify(key, &back, 0) {
		t.Error("the MAC does not hold over what comes back")
	}
}

func TestWithoutAKeyNothingIsSignedAndNothingHolds(t *testing.T) {
	r := request(1)
	if mac := decision.Sign(nil, r, v1alpha1.StampedDecision{User: "alice"}); mac != "" {
		t.Errorf("signed with no key: %s", mac)
	}
	r.Spec.Decisions = []v1alpha1.StampedDecision{{User: "alice", Verdict: v1alpha1.VerdictApprove}}
	if decision.Verify(nil, r, 0) {
		t.Error("an empty MAC holds without a key")
	}
	if decision.Verify(key, r, 1) || decision.Verify(key, r, -1) {
		t.Error("an entry that is not there holds")
	}
}
