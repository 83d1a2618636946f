package broker

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestDemandedFindsOnlyWhatThePolicyAsksFor(t *testing.T) {
	writes := &policy.Approval{Required: 2, TimeoutSeconds: 60}
	access := &policy.Approval{Required: 3, TimeoutSeconds: 60}
	doc := &policy.Policy{Targets: []policy.Target{
		{Name: "plain", Postgres: &policy.Postgres{DefaultAction: policy.Deny, Rules: []policy.Rule{{Name: "writes", Action: policy.Allow}}}},
		{
			Name: "asks", Access: &policy.Access{Approval: access},
			Postgres: &policy.Postgres{
				DefaultAction: policy.RequireApproval, Unrecognised: policy.RequireApproval, Inference: policy.RequireApproval,
				Rules: []policy.Rule{{Name: "writes", Action: policy.RequireApproval, Approval: writes}, {Name: "drops", Action: policy.Deny}},
			},
		},
		{Name: "remote", SSH: &policy.SSH{DefaultAction: policy.Deny, Rules: []policy.Rule{{Name: "sudo", Action: policy.RequireApproval, Approval: writes}}}},
	}}
	for name, c := range map[string]struct {
		target, rule string
		required     int32
		protocol     policy.Protocol
	}{
		"the rule that asks":                  {"asks", "writes", 2, policy.ProtocolPostgres},
		"a rule that denies":                  {"asks", "drops", 0, policy.ProtocolPostgres},
		"a rule of that name elsewhere":       {"plain", "writes", 0, policy.ProtocolPostgres},
		"a rule that is not there":            {"asks", "other", 0, policy.ProtocolPostgres},
		"a target that is not there":          {"other", "writes", 0, ""},
		"the default action where it asks":    {"asks", policy.RuleDefault, 1, policy.ProtocolPostgres},
		"the default action where it denies":  {"plain", policy.RuleDefault, 0, policy.ProtocolPostgres},
		"what is not understood":              {"asks", policy.RuleUnrecognised, 1, policy.ProtocolPostgres},
		"the use of a protected column":       {"asks", policy.RuleInference, 1, policy.ProtocolPostgres},
		"what is refused whatever rules say":  {"asks", policy.RuleBuiltin, 0, policy.ProtocolPostgres},
		"access to the whole target":          {"asks", policy.RuleAccess, 3, policy.ProtocolPostgres},
		"access to a target that is open":     {"plain", policy.RuleAccess, 0, policy.ProtocolPostgres},
		"another protocol's rule":             {"remote", "sudo", 2, policy.ProtocolSSH},
		"inference where there are no tables": {"remote", policy.RuleInference, 0, policy.ProtocolSSH},
	} {
		t.Run(name, func(t *testing.T) {
			protocol, approval := demanded(doc, c.target, c.rule)
			var got int32
			if approval != nil {
				got = approval.Required
			}
			if got != c.required || protocol != c.protocol {
				t.Errorf("%d people for %s, want %d for %s", got, protocol, c.required, c.protocol)
			}
		})
	}
}

func TestIdenticalAsksAreOfTheSamePodOrWorkload(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{UID: "one"},
			Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: layout.SidecarContainer}}, Containers: []corev1.Container{{Name: "agent"}}},
			Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", ImageID: "registry/agent@sha256:aa"}}},
		}
		change(p)
		return p
	}
	key := func(p *corev1.Pod, scope, owner string, change func(*ask)) string {
		t.Helper()
		a := &ask{
			policy: &v1alpha1.AgentPolicy{ObjectMeta: metav1.ObjectMeta{UID: "policy"}}, target: "db", rule: "writes",
			approval: &policy.Approval{Required: 1, Scope: scope}, command: v1alpha1.RequestedCommand{SHA256: "d"},
			pod: v1alpha1.RequestingPod{UID: p.UID, ServiceAccount: "default", Owner: owner, Images: images(p)},
		}
		if change != nil {
			change(a)
		}
		k, err := a.identity(p)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	same := func(*corev1.Pod) {}
	other := func(p *corev1.Pod) { p.UID = types.UID("two") }
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"the same pod":                 {key(pod(same), "Pod", "Job/x", nil), key(pod(same), "Pod", "Job/x", nil), true},
		"another pod of the workload":  {key(pod(same), "Pod", "Job/x", nil), key(pod(other), "Pod", "Job/x", nil), false},
		"workload scope, another pod":  {key(pod(same), "Workload", "CronJob/x", nil), key(pod(other), "Workload", "CronJob/x", nil), true},
		"workload scope, other owner":  {key(pod(same), "Workload", "CronJob/x", nil), key(pod(other), "Workload", "CronJob/y", nil), false},
		"workload scope, without one":  {key(pod(same), "Workload", "", nil), key(pod(other), "Workload", "", nil), false},
		"workload scope, other image":  {key(pod(same), "Workload", "CronJob/x", nil), key(pod(func(p *corev1.Pod) { p.UID = "two"; p.Status.ContainerStatuses[0].ImageID = "registry/agent@sha256:bb" }), "Workload", "CronJob/x", nil), false},
		"workload scope, no digest":    {key(pod(func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ImageID = "" }), "Workload", "CronJob/x", nil), key(pod(func(p *corev1.Pod) { p.UID = "two"; p.Status.ContainerStatuses[0].ImageID = "" }), "Workload", "CronJob/x", nil), false},
		"workload scope, debugged pod": {key(pod(same), "Workload", "CronJob/x", nil), key(pod(func(p *corev1.Pod) { p.UID = "two"; p.Spec.EphemeralContainers = make([]corev1.EphemeralContainer, 1) }), "Workload", "CronJob/x", nil), false},
		"other bytes":                  {key(pod(same), "Pod", "", nil), key(pod(same), "Pod", "", func(a *ask) { a.command.SHA256 = "e" }), false},
		"a rule that asks more people": {key(pod(same), "Pod", "", nil), key(pod(same), "Pod", "", func(a *ask) { a.approval = &policy.Approval{Required: 2, Scope: "Pod"} }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.a == c.b; got != c.want {
				t.Errorf("identical: %v", got)
			}
		})
	}
}
