package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
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
			if err == nil || !strings.Contains(err.Error(), "json, yaml, wide and name are known") {
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
		"a request that there is not":      {[]string{"approve", "nope"}, "", "", "approval request agents/nope not found; kubectl chaperone approvals -n agents lists"},
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
	s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour)}
	out, _, err := s.run(t, "approve", "a")
	if err != nil {
		t.Fatal(err)
	}
	command, decided := strings.Index(out, "Command        UPDATE customers\n               SET plan = 'x'\n"), strings.Index(out, "/a approved")
	if command < 0 || decided < command {
		t.Errorf("got\n%s", out)
	}
	if out, _, err := s.run(t, "approve", "a", "-o", "name"); err != nil || out != "approvalrequest.chaperone.dev/a\n" {
		t.Errorf("%v, got %s", err, out)
	}
}

// golden compares with a file of testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it anew):\n%s", path, diff)
	}
}

func TestAnApproverIsShownAllThatThereIsToKnow(t *testing.T) {
	now := time.Date(2026, 9, 30, 10, 0, 0, 0, time.UTC)
	r := request("billing-agent-7d9f4-03b4f2b5", v1alpha1.PhasePending, time.Hour)
	r.CreationTimestamp, r.Spec.ExpiresAt = metav1.NewTime(now.Add(-3*time.Minute)), metav1.NewTime(now.Add(12*time.Minute))
	r.Spec.Pod = v1alpha1.RequestingPod{
		Name: "billing-agent-7d9f4", UID: "0f0c2f6c-7c0e-4a52-9d1b-5b0c7f6f3a11", ServiceAccount: "billing", Owner: "Deployment/billing-agent",
		Images: []string{"agent=registry.example/agent@sha256:" + strings.Repeat("1f", 32), "tools=registry.example/tools@sha256:" + strings.Repeat("2e", 32)},
	}
	r.Spec.Policy.Generation = 3
	r.Spec.Approval = v1alpha1.RequestedApproval{Required: 2, Groups: []string{"dba", "sre"}, ExcludeApprovers: []string{"mallory"}, Scope: "Workload"}
	r.Spec.Justification = "the price change of TICKET-7\x1b[2J\nplease"
	r.Spec.Command.Text = "UPDATE customers\n\tSET plan = 'x\u202e'"
	r.Spec.Command.Length = 90_000
	r.Status.Approvals = 1
	r.Spec.Decisions = []v1alpha1.StampedDecision{{
		Verdict: v1alpha1.VerdictApprove, User: "bob", Time: metav1.NewTime(now.Add(-time.Minute)),
		Duration: &metav1.Duration{Duration: 30 * time.Minute}, Reason: "agreed with finance\nreally",
	}}
	show := func(r v1alpha1.ApprovalRequest, paint painter) string {
		var out bytes.Buffer
		e := &environment{IOStreams: genericiooptions.IOStreams{Out: &out}, paint: paint}
		if err := e.describe(&r, now); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	golden(t, "show-pending.txt", show(r, painter{}))
	if plain, coloured := show(r, painter{}), show(r, painter{on: true}); regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(coloured, "") != plain || coloured == plain {
		t.Errorf("colours change the text:\n%q", coloured)
	}

	r.Status.Phase, r.Status.Message = v1alpha1.PhaseDenied, "denied by carol: not on Fridays"
	r.Spec.Decisions = append(r.Spec.Decisions, v1alpha1.StampedDecision{
		Verdict: v1alpha1.VerdictDeny, User: "carol", Time: metav1.NewTime(now.Add(-30 * time.Second)), Reason: "not on Fridays",
	})
	golden(t, "show-denied.txt", show(r, painter{}))
}

func TestColoursAreForTerminalsAlone(t *testing.T) {
	primary, secondary, err := openPTY()
	if err != nil {
		t.Skipf("no pseudoterminal on this machine: %v", err)
	}
	defer primary.Close()
	defer secondary.Close()
	unset := func(string) string { return "" }
	for name, c := range map[string]struct {
		out    io.Writer
		getenv func(string) string
		want   bool
	}{
		"a terminal":               {secondary, unset, true},
		"a pipe":                   {&bytes.Buffer{}, unset, false},
		"a terminal with NO_COLOR": {secondary, func(k string) string { return map[string]string{"NO_COLOR": "1"}[k] }, false},
		"a dumb terminal":          {secondary, func(k string) string { return map[string]string{"TERM": "dumb"}[k] }, false},
	} {
		if got := painterFor(c.out, c.getenv); got.on != c.want {
			t.Errorf("%s: colours %v", name, got.on)
		}
	}
}

// openPTY opens a pseudoterminal (pty(7)).
func openPTY() (primary, secondary *os.File, err error) {
	if primary, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	fd := int(primary.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	secondary, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return primary, secondary, err
}

func TestAWatchShowsWhatChanges(t *testing.T) {
	s := newAPIServer(t)
	first := request("first", "", time.Hour, func(r *v1alpha1.ApprovalRequest) { r.ResourceVersion = "1" })
	s.approvals = []v1alpha1.ApprovalRequest{first}
	changed := request("first", v1alpha1.PhaseApproved, time.Hour, func(r *v1alpha1.ApprovalRequest) { r.ResourceVersion = "2" })
	s.watched = []watched{
		{"ADDED", first}, // known from the list
		{"MODIFIED", changed},
		{"DELETED", changed},
		{"ADDED", request("second", "", time.Hour, func(r *v1alpha1.ApprovalRequest) { r.ResourceVersion = "3" })},
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &stopAt{text: "second", stop: cancel}
	if err := s.command(t, out, io.Discard, "approvals", "-w").ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.buffer.String()), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "first ") || !strings.Contains(lines[2], "Approved") || !strings.HasPrefix(lines[3], "second ") {
		t.Errorf("got\n%s", out.buffer.String())
	}
}

// stopAt is an output whose reader has had enough at a certain text.
type stopAt struct {
	buffer bytes.Buffer
	text   string
	stop   func()
}

func (s *stopAt) Write(p []byte) (int, error) {
	n, err := s.buffer.Write(p)
	if strings.Contains(s.buffer.String(), s.text) {
		s.stop()
	}
	return n, err
}

func TestNamesAreCompleted(t *testing.T) {
	s := newAPIServer(t)
	s.approvals = []v1alpha1.ApprovalRequest{request("billing-1", "", time.Hour), request("billing-2", v1alpha1.PhaseUsed, time.Hour), request("other", "", time.Hour)}
	for args, want := range map[string]string{
		"approve b":            "billing-1\n:4\n",
		"approvals show b":     "billing-1\nbilling-2\n:4\n",
		"approve billing-1 x":  ":4\n",
		"approvals --output ":  "json\nyaml\nwide\nname\n:4\n",
		"approve b -n nowhere": ":4\n",
	} {
		fields := strings.Split(args, " ")
		if args == "approve b -n nowhere" {
			fields = []string{"-n", "nowhere", "approve", "b"}
		}
		out, _, err := s.run(t, append([]string{"__complete"}, fields...)...)
		if err != nil || out != want {
			t.Errorf("%s: %v, got %q", args, err, out)
		}
	}
}
