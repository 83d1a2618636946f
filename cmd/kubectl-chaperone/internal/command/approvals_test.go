package command

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func request(name string, phase v1alpha1.ApprovalPhase, expires time.Duration, change ...func(*v1alpha1.ApprovalRequest)) v1alpha1.ApprovalRequest {
	r := v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "agents", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Minute)),
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "operator"}},
		},
		Spec: v1alpha1.ApprovalRequestSpec{
			Pod:    v1alpha1.RequestingPod{Name: "billing-agent-0", ServiceAccount: "billing"},
			Policy: v1alpha1.PolicyReference{Name: "billing"}, Rule: "unfiltered-writes", Target: "billing", Protocol: "postgres",
			Command: v1alpha1.RequestedCommand{
				Text: "UPDATE customers\nSET plan = 'x'", Length: 31, SHA256: strings.Repeat("0123456789abcdef", 4),
			},
			Approval:  v1alpha1.RequestedApproval{Required: 1, Scope: "Pod"},
			ExpiresAt: metav1.NewTime(time.Now().Add(expires)),
		},
		Status: v1alpha1.ApprovalRequestStatus{Phase: phase},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func TestApprovalsListsWhatWaitsFirst(t *testing.T) {
	s := newAPIServer(t)
	s.approvals = []v1alpha1.ApprovalRequest{
		request("used", v1alpha1.PhaseUsed, time.Hour),
		request("later", v1alpha1.PhasePending, 20*time.Minute+time.Second),
		request("sooner", "", 10*time.Minute+time.Second),
		request("gone", v1alpha1.PhasePending, -time.Minute),
		request("elsewhere", v1alpha1.PhasePending, time.Hour, func(r *v1alpha1.ApprovalRequest) { r.Namespace = "other" }),
	}
	out, _, err := s.run(t, "approvals")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^NAME +PHASE +POD +TARGET +RULE +COMMAND +EXPIRES +AGE
gone +Pending +billing-agent-0 +billing +unfiltered-writes +UPDATE customers SET plan = 'x' +expired +60s
sooner +Pending +.* in 10m +60s
later +Pending +.* in 20m +60s
used +Used +.* - +60s
$`)
	if !want.MatchString(out) {
		t.Errorf("got\n%s", out)
	}

	out, _, err = s.run(t, "approvals", "-A", "-o", "wide")
	if err != nil || !regexp.MustCompile(`(?m)^NAMESPACE +NAME .* POLICY .* SHA256 +APPROVALS`).MatchString(out) ||
		!regexp.MustCompile(`(?m)^other +elsewhere .* 0123456789ab… +0/1`).MatchString(out) {
		t.Errorf("%v, got\n%s", err, out)
	}
}

func TestApprovalsAsDocuments(t *testing.T) {
	s := newAPIServer(t)
	s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour), request("b", "", time.Hour), request("c", "", 2*time.Hour)}
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(b []byte, v any) error { return yaml.Unmarshal(b, v) },
	} {
		out, _, err := s.run(t, "approvals", "-o", format)
		if err != nil {
			t.Fatal(err)
		}
		var list v1alpha1.ApprovalRequestList
		if err := decode([]byte(out), &list); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if list.Kind != "ApprovalRequestList" || len(list.Items) != 3 || list.Items[0].Kind != "ApprovalRequest" || list.Items[2].Name != "c" {
			t.Errorf("%s: got %s", format, out)
		}
		if list.Items[0].ManagedFields != nil {
			t.Errorf("%s shows managed fields", format)
		}
	}
}

func TestListsSayWhenThereIsNothing(t *testing.T) {
	s := newAPIServer(t)
	for args, want := range map[string]string{
		"approvals":        "No approval requests found in namespace agents.\n",
		"recordings -n x":  "No recordings found in namespace x.\n",
		"recordings -A":    "No recordings found.\n",
		"approvals -o yml": "",
	} {
		out, note, err := s.run(t, strings.Fields(args)...)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "json, yaml and wide") {
				t.Errorf("%s: %v", args, err)
			}
		} else if err != nil || out != "" || note != want {
			t.Errorf("%s: %q, %q, %v", args, out, note, err)
		}
	}
}

func TestATableEscapesWhatAnAgentWrote(t *testing.T) {
	s := newAPIServer(t)
	s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour, func(r *v1alpha1.ApprovalRequest) {
		r.Spec.Command.Text = "SELECT '\x1b[2J\u202e'"
		r.Spec.Justification = "please\x1b]0;x\x07"
	})}
	for _, args := range [][]string{{"approvals"}, {"approve", "a"}} {
		out, _, err := s.run(t, args...)
		if err != nil || strings.ContainsAny(out, "\x1b\x07\u202e") || !strings.Contains(out, `\x1b[2J\u202e`) {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
}

func TestApprove(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		patch string
		out   string
		err   string
	}{
		"once": {
			[]string{"approve", "a"}, `{"spec":{"decision":{"verdict":"Approve"}}}`, "approvalrequest.chaperone.dev/a approved\n", "",
		},
		"with a reason and for a time": {
			[]string{"approve", "a", "--reason", "agreed", "--for", "30m"},
			`{"spec":{"decision":{"verdict":"Approve","reason":"agreed","duration":"30m0s"}}}`, "/a approved\n", "",
		},
		"as the first of two": {
			[]string{"approve", "two"}, `{"spec":{"decision":{"verdict":"Approve"}}}`, "/two approved by you; 1 of 2 approvals, 1 more needed\n", "",
		},
		"a denial": {
			[]string{"deny", "a", "--reason", "not today"}, `{"spec":{"decision":{"verdict":"Deny","reason":"not today"}}}`, "/a denied\n", "",
		},
		"a denial without a reason":        {[]string{"deny", "a"}, "", "", "--reason is needed"},
		"for no time":                      {[]string{"approve", "a", "--for", "0s"}, "", "", "must be longer"},
		"without a name":                   {[]string{"approve"}, "", "", "accepts 1 arg"},
		"a request that there is not":      {[]string{"approve", "nope"}, "", "", `"nope" not found`},
		"a request of another namespace":   {[]string{"approve", "a", "-n", "other"}, "", "", "not found"},
		"what admission refuses is passed": {[]string{"approve", "refused"}, `{"spec":{"decision":{"verdict":"Approve"}}}`, "", "may not decide twice"},
	} {
		s := newAPIServer(t)
		s.approvals = []v1alpha1.ApprovalRequest{
			request("a", "", time.Hour), request("refused", "", time.Hour),
			request("two", "", time.Hour, func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.Required = 2 }),
		}
		if strings.Contains(c.err, "twice") {
			s.refuse = &metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: "alice may not decide twice"}
		}
		out, _, err := s.run(t, c.args...)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasSuffix(out, c.out) {
			t.Errorf("%s: got %s", name, out)
		}
		if got := strings.Join(s.patches, "\n"); c.patch == "" && got != "" || c.patch != "" && got != "application/merge-patch+json "+c.patch {
			t.Errorf("%s: patched %s", name, got)
		}
	}
}

func TestADeciderSeesWhatWillRunBeforehand(t *testing.T) {
	s := newAPIServer(t)
	s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour, func(r *v1alpha1.ApprovalRequest) {
		r.Spec.Command.Length = 90_000
		r.Spec.Justification = "the price change"
	})}
	out, _, err := s.run(t, "approve", "a")
	if err != nil {
		t.Fatal(err)
	}
	want := `Request   agents/a
Agent     pod billing-agent-0 (service account billing)
Target    billing (postgres)
Rule      unfiltered-writes of policy billing
Agent says the price change
Command   UPDATE customers
          SET plan = 'x'
          … 90000 bytes in all, of which 31 are shown
SHA256    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

approvalrequest.chaperone.dev/a approved
`
	if out != want {
		t.Errorf("got\n%s", out)
	}
}
