package api_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/naming"
)

var _ = Describe("deciding an approval request", Ordered, ContinueOnFailure, func() {
	var namespace string
	var alice, bob, carol client.Client
	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		alice = approver(ctx, namespace, "alice@example.com", "dba", "staff")
		bob = approver(ctx, namespace, "bob@example.com", "staff")
		carol = approver(ctx, namespace, "carol@example.com")
	})

	two := func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.Required = 2 }
	dba := func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.Groups = []string{"dba", "oncall"} }

	It("stamps who decided, in which groups and when, and clears the decision", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		outcome, kept := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhaseApproved))
		Expect(outcome.Deciders).To(Equal([]string{"alice@example.com"}))
		Expect(kept.Spec.Decision).To(BeNil())
		Expect(kept.Spec.Decisions).To(HaveLen(1))
		Expect(kept.Spec.Decisions[0]).To(And(
			HaveField("User", "alice@example.com"),
			HaveField("Reason", "looked at it"),
			HaveField("Groups", ConsistOf("dba", "staff", "system:authenticated")),
			HaveField("Time.Time", BeTemporally("~", time.Now(), 10*time.Second)),
		))
	})

	It("takes the very command that requests, events and notifications show, run by a shell", func(ctx SpecContext) {
		request := file(ctx, namespace)
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		user, err := env.AddUser(envtest.User{Name: "alice@example.com", Groups: []string{"dba"}}, &rest.Config{})
		Expect(err).NotTo(HaveOccurred())
		text, err := user.KubeConfig()
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(kubeconfig, text, 0o600)).To(Succeed())
		shell := exec.CommandContext(ctx, "sh", "-c", naming.Decide(namespace, request.Name, "Approve"))
		shell.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+":"+os.Getenv("PATH"))
		out, err := shell.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		outcome, _ := stands(ctx, request)
		Expect(outcome.Deciders).To(Equal([]string{"alice@example.com"}))
	})

	It("keeps nothing of a dry run", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(patch(ctx, alice, request, map[string]any{"decision": map[string]any{"verdict": "Approve"}}, client.DryRunAll)).To(Succeed())
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhasePending))
	})

	It("refuses a service account with every permission, the agent's own and the operator's", func(ctx SpecContext) {
		request := file(ctx, namespace)
		agent := robot(ctx, namespace)
		Eventually(func() error { return decide(ctx, agent, request, v1alpha1.VerdictApprove) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(ContainSubstring("is a service account; only people decide")))
		bind(ctx, namespace, "chaperone-approver", operatorUser, false)
		Eventually(func() error { return decide(ctx, operator, request, v1alpha1.VerdictApprove) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(ContainSubstring("is a service account; only people decide")))
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhasePending))
	})

	It("refuses who may patch requests and has not the verb approve, or has it for another policy", func(ctx SpecContext) {
		request := file(ctx, namespace)
		other := rule("chaperone.dev", "agentpolicies", "approve")
		other.ResourceNames = []string{"another-policy"}
		allow(ctx, namespace, "mallory", rule("chaperone.dev", "approvalrequests", "get", "list", "patch", "update"), other)
		mallory := as("mallory")
		Eventually(func() error { return decide(ctx, mallory, request, v1alpha1.VerdictApprove) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(And(ContainSubstring("user mallory may not approve for agent policy "+namespace+"/billing"), ContainSubstring("verb approve"))))
	})

	It("asks for one of the rule's groups", func(ctx SpecContext) {
		request := file(ctx, namespace, dba)
		Expect(decide(ctx, bob, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("the rule asks for a member of dba, oncall")))
		Expect(decide(ctx, bob, request, v1alpha1.VerdictDeny)).To(MatchError(ContainSubstring("the rule asks for a member of dba, oncall")))
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
	})

	It("refuses whom the policy excludes", func(ctx SpecContext) {
		request := file(ctx, namespace, func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.ExcludeApprovers = []string{"alice@example.com"} })
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("excludeApprovers names alice@example.com")))
		Expect(decide(ctx, bob, request, v1alpha1.VerdictApprove)).To(Succeed())
	})

	It("counts distinct people for a quorum, and nobody twice", func(ctx SpecContext) {
		request := file(ctx, namespace, two)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("user alice@example.com has decided already")))
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(decide(ctx, bob, request, v1alpha1.VerdictApprove)).To(Succeed())
		outcome, _ = stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhaseApproved))
		Expect(outcome.Deciders).To(Equal([]string{"alice@example.com", "bob@example.com"}))
		Expect(decide(ctx, carol, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("too late, it is approved")))
	})

	It("lets one denial win, and nobody decide after it", func(ctx SpecContext) {
		request := file(ctx, namespace, two)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		Expect(decide(ctx, bob, request, v1alpha1.VerdictDeny)).To(Succeed())
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhaseDenied))
		Expect(outcome.Message).To(Equal("denied by bob@example.com: looked at it"))
		Expect(decide(ctx, carol, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("too late, it is denied")))
	})

	It("lets another approver withdraw a grant that has not been used", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		Expect(decide(ctx, bob, request, v1alpha1.VerdictDeny)).To(Succeed())
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhaseDenied))
	})

	It("refuses what comes after the expiry", func(ctx SpecContext) {
		request := file(ctx, namespace, func(r *v1alpha1.ApprovalRequest) { r.Spec.ExpiresAt = metav1.NewTime(time.Now().Add(-time.Second)) })
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring("too late, it is expired")))
	})

	It("refuses what comes after the use", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		_, kept := stands(ctx, request)
		kept.Status.Uses = 1
		Expect(operator.Status().Update(ctx, kept)).To(Succeed())
		Expect(decide(ctx, bob, request, v1alpha1.VerdictDeny)).To(MatchError(ContainSubstring("too late, it is used")))
	})

	It("takes a duration for a reusable grant, but none that is not one", func(ctx SpecContext) {
		request := file(ctx, namespace)
		grant := func(d string) error {
			return patch(ctx, alice, request, map[string]any{"decision": map[string]any{"verdict": "Approve", "duration": d}})
		}
		Expect(grant("-5m")).To(MatchError(ContainSubstring("spec.decision.duration must be longer than 0")))
		Expect(grant("5m")).To(Succeed())
		outcome, kept := stands(ctx, request)
		Expect(outcome.Reusable).To(BeTrue())
		Expect(outcome.GrantExpiresAt).To(BeTemporally("~", time.Now().Add(5*time.Minute), 10*time.Second))
		Expect(outcome.GrantExpiresAt).To(BeTemporally("<", kept.Spec.ExpiresAt.Time))
	})

	It("lets an approver shorten what the policy grants, and never extend it", func(ctx SpecContext) {
		request := file(ctx, namespace, func(r *v1alpha1.ApprovalRequest) {
			r.Spec.Approval.MaxDuration = &metav1.Duration{Duration: time.Hour}
		})
		grant := func(d string) error {
			return patch(ctx, alice, request, map[string]any{"decision": map[string]any{"verdict": "Approve", "duration": d}})
		}
		Expect(patch(ctx, admin, request, map[string]any{"approval": map[string]any{"maxDuration": "24h"}})).To(MatchError(ContainSubstring("cannot be changed")))
		Expect(grant("61m")).To(MatchError(ContainSubstring("spec.decision.duration is 1h1m0s, and the policy grants 1h0m0s at most")))
		Expect(grant("30m")).To(Succeed())
		outcome, kept := stands(ctx, request)
		Expect(outcome.GrantExpiresAt).To(BeTemporally("~", time.Now().Add(30*time.Minute), 10*time.Second))
		Expect(outcome.GrantExpiresAt).To(BeTemporally(">", kept.Spec.ExpiresAt.Time))
	})

	It("takes server-side apply of the one field, once", func(ctx SpecContext) {
		request := file(ctx, namespace)
		apply := func() error {
			object := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "chaperone.dev/v1alpha1", "kind": "ApprovalRequest",
				"metadata": map[string]any{"name": request.Name, "namespace": namespace},
				"spec":     map[string]any{"decision": map[string]any{"verdict": "Approve"}},
			}}
			return alice.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("alice"), client.ForceOwnership)
		}
		Expect(apply()).To(Succeed())
		outcome, kept := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhaseApproved))
		Expect(kept.Spec.Decision).To(BeNil())
		Expect(apply()).To(MatchError(ContainSubstring("has decided already")))
	})

	It("keeps every one of many racing decisions, and one of a person's own", func(ctx SpecContext) {
		const people = 6
		request := file(ctx, namespace, func(r *v1alpha1.ApprovalRequest) { r.Spec.Approval.Required = people })
		var racers []client.Client
		for i := range people {
			racers = append(racers, approver(ctx, namespace, fmt.Sprintf("racer-%d", i)))
		}
		var wg sync.WaitGroup
		for _, who := range racers {
			for range 3 {
				wg.Go(func() {
					// A patch that keeps losing the race ends in a conflict; a person tries again.
					for range 20 {
						if err := decide(ctx, who, request, v1alpha1.VerdictApprove); err == nil || !conflict(err) {
							return
						}
					}
				})
			}
		}
		wg.Wait()
		outcome, kept := stands(ctx, request)
		Expect(kept.Spec.Decisions).To(HaveLen(people))
		Expect(outcome.Approvals).To(BeEquivalentTo(people))
	})

	It("takes an impersonated approver for that approver, as everything in the API does", func(ctx SpecContext) {
		request := file(ctx, namespace)
		config := rest.CopyConfig(env.Config)
		config.Impersonate = rest.ImpersonationConfig{UserName: "alice@example.com", Groups: []string{"system:authenticated"}}
		Expect(decide(ctx, clientFor(config), request, v1alpha1.VerdictApprove)).To(Succeed())
		outcome, _ := stands(ctx, request)
		Expect(outcome.Deciders).To(Equal([]string{"alice@example.com"}))
	})

	It("counts once where another mutating webhook makes ours run again", func(ctx SpecContext) {
		request := file(ctx, namespace, two)
		meddle(ctx, "zz-touch", "/meddle-touch", namespace, requests, admissionregistrationv1.Update)
		Eventually(func(g Gomega) {
			g.Expect(patch(ctx, alice, request, map[string]any{"decision": map[string]any{"verdict": "Approve"}}, client.DryRunAll)).To(Succeed())
			g.Expect(atWork("/meddle-touch", namespace)).To(BeTrue())
		}).WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(Succeed())
		_, kept := stands(ctx, request)
		Expect(kept.Annotations).To(HaveKeyWithValue("example.com/touched", "yes"))
		Expect(kept.Spec.Decisions).To(HaveLen(1))
	})

	It("refuses the whole request where another mutating webhook adds an entry", func(ctx SpecContext) {
		for _, name := range []string{"aa-forge", "zz-forge"} {
			other := newNamespace(ctx)
			dave := approver(ctx, other, "dave@example.com")
			request := file(ctx, other, two)
			meddle(ctx, name, "/meddle-decisions", other, requests, admissionregistrationv1.Update)
			Eventually(func() error {
				return patch(ctx, dave, request, map[string]any{"decision": map[string]any{"verdict": "Approve"}}, client.DryRunAll)
			}).WithContext(ctx).WithTimeout(10 * time.Second).Should(MatchError(ContainSubstring("write spec.decision")))
		}
	})
})
