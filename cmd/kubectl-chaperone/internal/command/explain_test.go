package command

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func agentPolicy(name string, ago time.Duration, change ...func(*v1alpha1.AgentPolicy)) v1alpha1.AgentPolicy {
	ap := v1alpha1.AgentPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "agents", Generation: 4, CreationTimestamp: metav1.NewTime(time.Now().Add(-ago))},
		Spec: v1alpha1.AgentPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
			Targets: []v1alpha1.Target{{
				Name: "billing", Hosts: []v1alpha1.Host{"db.prod.example"}, Port: ptr.To(v1alpha1.Port(5432)),
				Postgres: &v1alpha1.PostgresTarget{Credentials: &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "billing-db"}}, Rules: make([]v1alpha1.PostgresRule, 3)},
			}},
		},
		Status: v1alpha1.AgentPolicyStatus{
			Pods:     v1alpha1.PodCounts{Selected: 3, Protected: 2, Unprotected: 1},
			Sidecars: []v1alpha1.GenerationCount{{Generation: 4, Count: 1}, {Generation: 3, Count: 1}},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue},
				{Type: v1alpha1.ConditionProtecting, Status: metav1.ConditionFalse, Reason: "PodsUnprotected", Message: "pod old has run since before the policy"},
			},
		},
	}
	for _, c := range change {
		c(&ap)
	}
	return ap
}

func agentPod(name string, change ...func(*corev1.Pod)) corev1.Pod {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "agents", UID: "u", Labels: map[string]string{"app": "agent", layout.InjectedLabel: "1"},
			Annotations:       map[string]string{layout.SealAnnotation: "x", layout.BoundLabelsAnnotation: `{"app":"agent"}`},
			CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour)),
		},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: layout.SidecarContainer, Image: "registry.example/sidecar:v1"}}},
		Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: layout.SidecarContainer, Ready: true, Started: ptr.To(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Add(-time.Hour))}},
		}}},
	}
	for _, c := range change {
		c(&pod)
	}
	return pod
}

func bare(pod *corev1.Pod) {
	pod.Annotations, pod.Spec.InitContainers = nil, nil
}

func TestExplainTellsWhetherAPodIsProtected(t *testing.T) {
	state := func(s corev1.ContainerState) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.InitContainerStatuses[0].State, p.Status.InitContainerStatuses[0].Started = s, ptr.To(false)
		}
	}
	one := []v1alpha1.AgentPolicy{agentPolicy("billing", 2*time.Hour)}
	for name, c := range map[string]struct {
		pod       corev1.Pod
		policies  []v1alpha1.AgentPolicy
		protected bool
		why       string
		applying  int
	}{
		"a pod behind a running sidecar":    {agentPod("a"), one, true, "its sidecar has run for 60m", 1},
		"one whose sidecar starts":          {agentPod("a", state(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})), one, true, "its sidecar is starting", 1},
		"one whose sidecar waits":           {agentPod("a", state(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})), one, true, "its sidecar waits: ImagePullBackOff: no such image; nothing leaves the pod meanwhile", 1},
		"one whose sidecar has ended":       {agentPod("a", state(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled"}})), one, true, "its sidecar has ended (OOMKilled)", 1},
		"one from before the policy":        {agentPod("a", bare), []v1alpha1.AgentPolicy{agentPolicy("billing", time.Minute)}, false, "it runs since before policy billing", 1},
		"one that slipped by":               {agentPod("a", bare), one, false, "it has no sidecar although policy billing selects it", 1},
		"one that no policy selects":        {agentPod("a", bare, func(p *corev1.Pod) { p.Labels = nil }), one, false, "no policy of the namespace selects it", 0},
		"one that was relabelled":           {agentPod("a", func(p *corev1.Pod) { p.Labels = nil }), one, true, "its sidecar has run", 1},
		"one whose policies are gone":       {agentPod("a"), nil, true, "no policy selects it any more, so that nothing is allowed to it", 0},
		"one that only says it has one":     {agentPod("a", func(p *corev1.Pod) { p.Annotations[layout.SealAnnotation] = "" }), one, false, "it has no sidecar", 1},
		"one with a sidecar's name nowhere": {agentPod("a", func(p *corev1.Pod) { p.Spec.InitContainers = nil }), one, false, "it has no sidecar", 1},
	} {
		x := explain(&c.pod, c.policies, time.Now())
		if x.Protected != c.protected || !strings.Contains(x.Why, c.why) || len(x.Policies) != c.applying {
			t.Errorf("%s: %v, %q, %d policies", name, x.Protected, x.Why, len(x.Policies))
		}
	}
}

func TestWhatASidecarHolds(t *testing.T) {
	log := `{"level":"info","msg":"Policies are in force","version":"0011;billing=3;ops=1"}
not JSON "Policies are in force"
{"level":"info","msg":"Policies are in force","version":"0022;billing=4"}
{"level":"info","msg":"A connection was refused","version":"x;billing=9"}
`
	if got := heldByLog(strings.NewReader(log)); len(got) != 1 || got["billing"] != 4 {
		t.Errorf("got %v", got)
	}
	if got := heldByLog(strings.NewReader(strings.Repeat("x", 2*longestLogLine))); got != nil {
		t.Errorf("got %v", got)
	}
	all := agentPolicy("billing", 0, func(ap *v1alpha1.AgentPolicy) {
		ap.Status.Sidecars = []v1alpha1.GenerationCount{{Generation: 4, Count: 2}}
	})
	some := agentPolicy("billing", 0, func(ap *v1alpha1.AgentPolicy) {
		ap.Status.Sidecars = []v1alpha1.GenerationCount{{Generation: 4, Count: 1}}
	})
	mixed := agentPolicy("billing", 0)
	if a, b, c := heldByAll(&all), heldByAll(&some), heldByAll(&mixed); a != 4 || b != 0 || c != 0 {
		t.Errorf("got %d, %d, %d", a, b, c)
	}
}

func TestExplainShowsPoliciesTargetsAndRefusals(t *testing.T) {
	s := newAPIServer(t)
	s.policies = []v1alpha1.AgentPolicy{agentPolicy("billing", 2*time.Hour), agentPolicy("other", time.Hour, func(ap *v1alpha1.AgentPolicy) { ap.Spec.PodSelector.MatchLabels["app"] = "other" })}
	s.pods = []corev1.Pod{agentPod("agent-0"), agentPod("old", bare, func(p *corev1.Pod) { p.UID = "v" })}
	s.sidecarLogs = map[string]string{"agents/agent-0": `{"msg":"Policies are in force","version":"00;billing=3"}` + "\n"}
	s.approvals = []v1alpha1.ApprovalRequest{
		request("waiting", "", time.Hour, func(r *v1alpha1.ApprovalRequest) { r.Spec.Pod.UID = "u" }),
		request("of-another", "", time.Hour, func(r *v1alpha1.ApprovalRequest) { r.Spec.Pod.UID = "w" }),
	}
	s.recorded(t, "rec", time.Hour, nil,
		run(1, 1, 1, "Allow", "reads", "SELECT 1"), run(1, 2, 2, "Deny", "no-schema-change", "DROP TABLE customers"),
		run(1, 3, 3, "RequireApproval", "unfiltered-writes", "DELETE FROM customers"),
		record.Event{Time: 4, Kind: record.KindApproval, Connection: 1, Command: 3, Request: "r", Decision: "Denied", Deciders: []string{"dana"}},
		run(1, 4, 5, "RequireApproval", "unfiltered-writes", "UPDATE customers SET plan = 1"),
		record.Event{Time: 6, Kind: record.KindApproval, Connection: 1, Command: 4, Request: "r2", Decision: "Approved", Deciders: []string{"dana"}})
	out, _, err := s.run(t, "explain", "agent-0", "-o", "wide")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^Protected +yes: its sidecar has run for 60m$`, `(?m)^Waits for +approval waiting$`,
		`(?m)^billing +Enforce +4 +3 +the sidecar's log +True +Deny, 0 allowed`, `(?m)^billing +billing +postgres +db\.prod\.example:5432 +3 +Deny +0 +secret billing-db$`,
		`(?m)^\S+ \S+ +billing +agents/billing +no-schema-change +DROP TABLE customers +rec +1\.2$`, `unfiltered-writes +dana +DELETE FROM customers`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	for _, unwanted := range []string{"SELECT 1", "UPDATE customers", "of-another", "other", "Not known"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("%s is in\n%s", unwanted, out)
		}
	}
	out, _, err = s.run(t, "explain", "agent-0", "-o", "json", "--since", "2h")
	var x explanation
	if err != nil || json.Unmarshal([]byte(out), &x) != nil || len(x.Refused) != 2 || x.Policies[0].Held != 3 {
		t.Errorf("%v, got\n%s", err, out)
	}
	out, _, err = s.run(t, "explain", "old")
	if err != nil || !strings.Contains(out, "Protected      NO: it has no sidecar although policy billing selects it") {
		t.Errorf("%v, got\n%s", err, out)
	}
	if _, _, err := s.run(t, "explain", "nope"); err == nil || !strings.Contains(err.Error(), "pod agents/nope not found; kubectl get pods -n agents lists") {
		t.Errorf("got %v", err)
	}
}

func TestExplainSaysWhatItCouldNotFindOut(t *testing.T) {
	s := newAPIServer(t)
	s.policies = []v1alpha1.AgentPolicy{agentPolicy("billing", 2*time.Hour)}
	s.pods = []corev1.Pod{agentPod("agent-0")}
	s.recorded(t, "rec", time.Hour, func(r *v1alpha1.SessionRecording) { r.Status.Counts.Denied = 7 }, run(1, 1, 1, "Deny", "r", "x"))
	delete(s.logs, "agents/rec")
	out, _, err := s.run(t, "explain", "agent-0")
	if err != nil || !strings.Contains(out, "which generation the sidecar holds: ") || !strings.Contains(out, "all that was refused (the recordings count 7): log of recording agents/rec not found") ||
		!regexp.MustCompile(`billing +Enforce +4 +\? `).MatchString(out) {
		t.Errorf("%v, got\n%s", err, out)
	}
}

func TestStatus(t *testing.T) {
	s := newAPIServer(t)
	s.policies = []v1alpha1.AgentPolicy{agentPolicy("billing", time.Hour), agentPolicy("new", time.Hour, func(ap *v1alpha1.AgentPolicy) {
		ap.Namespace, ap.Status = "other", v1alpha1.AgentPolicyStatus{}
	})}
	operator := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "chaperone-1", Namespace: "chaperone-system", Labels: map[string]string{"app.kubernetes.io/name": "chaperone", "app.kubernetes.io/component": "operator"}, CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "operator", Image: "registry.example/operator:v1"}}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	away := operator
	away.Name, away.Status = "chaperone-2", corev1.PodStatus{}
	s.pods = []corev1.Pod{operator, away, agentPod("agent-0"), agentPod("agent-1"), agentPod("done", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), agentPod("old", bare, func(p *corev1.Pod) { p.Labels = nil })}
	s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour), request("b", "", time.Hour), request("c", v1alpha1.PhaseUsed, time.Hour)}
	s.recorded(t, "rec", time.Hour, nil)
	out, _, err := s.run(t, "status", "-A")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^chaperone-system +chaperone-1 +yes +registry\.example/operator:v1 +60m$`, `chaperone-2 +NO`,
		`(?m)^agents +billing +Enforce +True +False +2 +1 +4 +4: 1, 3: 1$`, `(?m)^other +new +Enforce +Unknown +Unknown`,
		`(?m)^registry\.example/sidecar:v1 +2 +2$`, `(?m)^agents +2 +60s$`, `Recordings +0 Recording, 1 Complete, 0 Truncated, 0 Lost`, `Plugin +v1\.2\.3`,
		`Problem +operator chaperone-system/chaperone-2 is not ready`, `Problem +policy agents/billing, PodsUnprotected: pod old has run since before the policy`,
		`Problem +policy other/new: no operator has looked at it`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s is missing in\n%s", want, out)
		}
	}
	out, _, err = s.run(t, "status", "-o", "json")
	var now standingNow
	if err != nil || json.Unmarshal([]byte(out), &now) != nil || len(now.Policies) != 1 || now.Pods.Protected != 2 || now.Pending[0].Count != 2 || len(now.Operators) != 2 {
		t.Errorf("%v, got\n%s", err, out)
	}
	empty := newAPIServer(t)
	out, _, err = empty.run(t, "status")
	if err != nil || !strings.Contains(out, "No policies.") || !strings.Contains(out, "Problem        no operator runs") {
		t.Errorf("%v, got\n%s", err, out)
	}
}
