package plugin_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func request(ctx context.Context, namespace, name string, change func(*v1alpha1.ApprovalRequest)) {
	GinkgoHelper()
	ar := &v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.ApprovalRequestSpec{
			Pod:    v1alpha1.RequestingPod{Name: "agent-0", UID: "3a", ServiceAccount: "default"},
			Policy: v1alpha1.PolicyReference{Name: "billing", UID: "4b", Generation: 1}, Rule: "unfiltered-writes", Target: "billing", Protocol: "postgres",
			Command: v1alpha1.RequestedCommand{
				Text: "UPDATE customers SET plan = 'free'", Length: 34, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			},
			Approval: v1alpha1.RequestedApproval{Required: 1, Scope: "Pod"}, ExpiresAt: metav1.NewTime(time.Now().Add(15 * time.Minute)),
		},
	}
	if change != nil {
		change(ar)
	}
	Expect(operator.Create(ctx, ar)).To(Succeed())
}

func decisions(ctx context.Context, namespace, name string) []v1alpha1.StampedDecision {
	GinkgoHelper()
	var ar v1alpha1.ApprovalRequest
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ar)).To(Succeed())
	return ar.Spec.Decisions
}

var _ = Describe("kubectl chaperone", Ordered, ContinueOnFailure, func() {
	var ns string
	var viewer, dana, auditor, nobody *person
	pod := &corev1.Pod{}
	BeforeAll(func(ctx SpecContext) {
		ns = newNamespace(ctx)
		// What the built-in view role would hold if a controller manager were there to aggregate it.
		Expect(admin.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "pod-reader"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: []string{"get", "list"}},
		}})).To(Succeed())
		Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "billing-db", Namespace: ns}, Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"username": "u", "password": "p"}})).To(Succeed())
		Expect(admin.Create(ctx, &v1alpha1.AgentPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "billing", Namespace: ns},
			Spec: v1alpha1.AgentPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
				Targets: []v1alpha1.Target{{
					Name: "billing", Hosts: []v1alpha1.Host{"billing-db.prod.svc"}, Port: ptr.To(v1alpha1.Port(5432)),
					Postgres: &v1alpha1.PostgresTarget{Credentials: &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "billing-db"}}},
				}},
			},
		})).To(Succeed())
		*pod = corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "agent-0", Namespace: ns, Labels: map[string]string{"app": "agent"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "registry.example/agent:1"}}},
		}
		// Admission looks policies up in a cache of its own.
		Eventually(func(g Gomega) {
			try := pod.DeepCopy()
			g.Expect(admin.Create(ctx, try, client.DryRunAll)).To(Succeed())
			g.Expect(try.Spec.InitContainers).NotTo(BeEmpty())
		}).WithContext(ctx).WithTimeout(60 * time.Second).Should(Succeed())
		Expect(admin.Create(ctx, pod)).To(Succeed())
		viewer = someone(ctx, ns, "vera", nil, "chaperone-viewer", "pod-reader")
		dana = someone(ctx, ns, "dana", []string{"dba"}, "chaperone-approver")
		auditor = someone(ctx, ns, "ada", nil, "chaperone-auditor", "pod-reader")
		nobody = someone(ctx, ns, "nils", nil)
		recorded(ctx, ns, "agent-0-billing", false, pod,
			record.Event{Kind: record.KindConnect, Connection: 1, User: "billing"},
			record.Event{Time: 1, Kind: record.KindCommand, Connection: 1, Command: 1, Text: "SELECT name FROM customers", Verdict: "Allow", Policy: ns + "/billing", Rule: "reads", Generation: 1},
			record.Event{Time: 2, Kind: record.KindCommand, Connection: 1, Command: 2, Text: "DROP TABLE customers", Verdict: "Deny", Policy: ns + "/billing", Rule: "no-schema-change", Generation: 1},
			record.Event{Time: 3, Kind: record.KindEnd})
		recorded(ctx, ns, "agent-0-shell", true, pod,
			record.Event{Time: 1, Kind: record.KindOutput, Connection: 1, Command: 1, Stream: "stdout", Data: "$ id\r\n\x1b]0;title\x07uid=1000\r\n"},
			record.Event{Time: 3, Kind: record.KindEnd})
	})

	It("is found by kubectl, which completes names through it", func(ctx SpecContext) {
		Expect(viewer.succeeds(ctx, "version")).To(Equal("v1.2.3\n"))
		Expect(viewer.kubectl(ctx, "plugin", "list").out).To(ContainSubstring("kubectl-chaperone"))
		request(ctx, ns, "to-complete", nil)
		a := dana.kubectl(ctx, "__complete", "chaperone", "-n", ns, "approve", "to-c")
		Expect(a.out).To(HavePrefix("to-complete\n:4"), a.err)
	})

	It("acts with the rights of its user, and names the role that is missing", func(ctx SpecContext) {
		request(ctx, ns, "of-rights", nil)
		Expect(viewer.succeeds(ctx, "approvals", "-n", ns)).To(MatchRegexp(`(?m)^of-rights +Pending +agent-0 +billing +unfiltered-writes +UPDATE customers SET plan = 'free'`))
		Expect(viewer.fails(ctx, "approve", "of-rights", "-n", ns)).To(And(ContainSubstring("error: approval request "+ns+"/of-rights"), ContainSubstring("chaperone-approver")))
		Expect(nobody.fails(ctx, "approvals", "-n", ns)).To(And(ContainSubstring("listing approvalrequests.chaperone.dev of namespace "+ns), ContainSubstring("chaperone-viewer")))
		Expect(dana.fails(ctx, "explain", "agent-0", "-n", ns)).To(And(ContainSubstring("pod "+ns+"/agent-0"), ContainSubstring("ClusterRole view")))
		Expect(nobody.fails(ctx, "recordings", "-A")).To(ContainSubstring("of all namespaces"))
		Expect(viewer.fails(ctx, "replay", "agent-0-billing", "-n", ns)).To(And(ContainSubstring("log of recording "+ns+"/agent-0-billing"), ContainSubstring("chaperone-auditor")))
		Expect(dana.fails(ctx, "approve", "no-such", "-n", ns)).To(ContainSubstring("approval request " + ns + "/no-such not found; kubectl chaperone approvals -n " + ns + " lists those that there are"))
		Expect(decisions(ctx, ns, "of-rights")).To(BeEmpty())
	})

	It("approves and denies in the name that the API server knows", func(ctx SpecContext) {
		request(ctx, ns, "to-approve", func(ar *v1alpha1.ApprovalRequest) { ar.Spec.Approval.Groups = []string{"dba"} })
		out := dana.succeeds(ctx, "approve", "to-approve", "-n", ns, "--reason", "agreed with finance")
		Expect(out).To(And(ContainSubstring("UPDATE customers SET plan = 'free'"), ContainSubstring("approvalrequest.chaperone.dev/to-approve approved")))
		Expect(decisions(ctx, ns, "to-approve")).To(HaveExactElements(And(
			HaveField("User", "dana"), HaveField("Verdict", v1alpha1.VerdictApprove), HaveField("Reason", "agreed with finance"), HaveField("MAC", Not(BeEmpty())))))
		Expect(dana.fails(ctx, "approve", "to-approve", "-n", ns)).To(ContainSubstring("approval request " + ns + "/to-approve"))
		request(ctx, ns, "to-deny", nil)
		Expect(dana.succeeds(ctx, "deny", "to-deny", "-n", ns, "--reason", "use the view", "-o", "name")).To(Equal("approvalrequest.chaperone.dev/to-deny\n"))
		Expect(decisions(ctx, ns, "to-deny")).To(HaveExactElements(HaveField("Verdict", v1alpha1.VerdictDeny)))
		request(ctx, ns, "of-others", func(ar *v1alpha1.ApprovalRequest) { ar.Spec.Approval.Groups = []string{"sre"} })
		Expect(dana.fails(ctx, "approve", "of-others", "-n", ns)).To(ContainSubstring("sre"))
	})

	It("lists and searches recordings, and reads the logs through the aggregated API", func(ctx SpecContext) {
		Expect(viewer.succeeds(ctx, "recordings", "-n", ns)).To(MatchRegexp(`(?m)^agent-0-billing +Complete +agent-0 +billing +2 +1 `))
		Expect(viewer.fails(ctx, "recordings", "-n", ns, "--command", "drop")).To(ContainSubstring("chaperone-auditor"))
		Expect(auditor.succeeds(ctx, "recordings", "-n", ns, "--command", "drop", "--verdict", "Deny")).To(MatchRegexp(`agent-0-billing +1\.2 +billing +Deny +no-schema-change +DROP TABLE customers\n`))
		var found struct{ Commands []map[string]any }
		Expect(json.Unmarshal([]byte(auditor.succeeds(ctx, "recordings", "-n", ns, "--rule", "reads", "-o", "json")), &found)).To(Succeed())
		Expect(found.Commands).To(HaveExactElements(HaveKeyWithValue("text", "SELECT name FROM customers")))
		Expect(auditor.succeeds(ctx, "replay", "agent-0-billing", "-n", ns)).To(And(ContainSubstring("DENIED: rule no-schema-change of "+ns+"/billing"), ContainSubstring("The recording is complete. Signed by the operator")))
		Expect(auditor.succeeds(ctx, "replay", "agent-0-shell", "-n", ns)).To(And(HavePrefix("$ id\r\nuid=1000\r\n"), Not(ContainSubstring("title"))))
		Expect(auditor.succeeds(ctx, "verify", "agent-0-billing", "-n", ns)).To(ContainSubstring("2 commands, 1 denied"))
		folder := GinkgoT().TempDir()
		for file, holds := range map[string]string{"a.cast": `"uid=1000`, "a.html": "AsciinemaPlayer", "a.jsonl": `"stream":"stdout"`, "a.txt": "uid=1000"} {
			to := filepath.Join(folder, file)
			if file == "a.cast" {
				holds = "uid=1000"
			}
			Expect(auditor.succeeds(ctx, "export", "agent-0-shell", "-n", ns, "-o", to)).To(BeEmpty())
			Expect(os.ReadFile(to)).To(ContainSubstring(holds), file)
		}
		kept := filepath.Join(folder, "kept.log")
		auditor.succeeds(ctx, "export", "agent-0-billing", "-n", ns, "-o", kept)
		Expect(nobody.succeeds(ctx, "verify", "--file", kept)).To(ContainSubstring("is complete. Signed"), "everybody may read the keys")
	})

	It("explains a pod as far as its reader may know", func(ctx SpecContext) {
		out := auditor.succeeds(ctx, "explain", "agent-0", "-n", ns)
		Expect(out).To(And(MatchRegexp(`Protected +yes: it was created behind a sidecar`), MatchRegexp(`billing +Enforce +1 +\?`), MatchRegexp(`billing +billing +postgres +billing-db\.prod\.svc:5432`),
			MatchRegexp(`billing +no-schema-change +DROP TABLE customers`)))
		out = viewer.succeeds(ctx, "explain", "agent-0", "-n", ns)
		Expect(out).To(And(ContainSubstring("Not known      all that was refused (the recordings count 1)"), Not(ContainSubstring("DROP TABLE"))))
		By("taking the generation from the policy's status where all sidecars hold one")
		var ap v1alpha1.AgentPolicy
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: ns, Name: "billing"}, &ap)).To(Succeed())
		ap.Status = v1alpha1.AgentPolicyStatus{Pods: v1alpha1.PodCounts{Selected: 1, Protected: 1}, Sidecars: []v1alpha1.GenerationCount{{Generation: 1, Count: 1}},
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: metav1.Now()}}}
		Expect(operator.Status().Update(ctx, &ap)).To(Succeed())
		Expect(auditor.succeeds(ctx, "explain", "agent-0", "-n", ns, "-o", "wide")).To(MatchRegexp(`billing +Enforce +1 +1 +the policy's status: all sidecars hold it +True`))
	})

	It("says how things stand, and what it may not see", func(ctx SpecContext) {
		out := viewer.succeeds(ctx, "status", "-n", ns)
		Expect(out).To(And(MatchRegexp(`registry\.example/chaperone/sidecar:v1 +1 +0`), MatchRegexp(`Not known +operators: listing pods of all namespaces`), ContainSubstring("Plugin         v1.2.3")))
		Expect(nobody.fails(ctx, "status", "-n", ns)).To(ContainSubstring("chaperone-viewer"))
	})

	It("judges a policy offline, with no cluster at all", func(ctx SpecContext) {
		nowhere := &person{kubeconfig: "/nowhere"}
		cases := filepath.Join(GinkgoT().TempDir(), "cases.yaml")
		Expect(os.WriteFile(cases, []byte("cases: [{sql: DROP TABLE x, expect: Deny}]"), 0o600)).To(Succeed())
		Expect(nowhere.succeeds(ctx, "test", "-f", filepath.Join(repository, "config", "samples", "billing.yaml"), cases)).To(ContainSubstring("no-schema-change"))
		Expect(strings.ToLower(nowhere.fails(ctx, "approvals"))).To(ContainSubstring("kubeconfig"))
	})
})
