package api_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func conflict(err error) bool { return apierrors.IsConflict(err) }

var _ = Describe("tampering with an approval request", Ordered, ContinueOnFailure, Serial, func() {
	var namespace string
	var alice client.Client
	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		alice = approver(ctx, namespace, "alice@example.com")
	})

	entry := func(user string) map[string]any {
		return map[string]any{"verdict": "Approve", "user": user, "groups": []string{"system:authenticated"}, "time": metav1.Now().UTC().Format(time.RFC3339), "mac": "00"}
	}

	DescribeTable("refuses an administrator who writes",
		func(ctx SpecContext, spec map[string]any, says string) {
			request := file(ctx, namespace)
			Expect(patch(ctx, admin, request, spec)).To(MatchError(ContainSubstring(says)))
		},
		Entry("an entry in another's name", map[string]any{"decisions": []any{entry("bob@example.com")}}, "is stamped with the user who decides"),
		Entry("the command's text", map[string]any{"command": map[string]any{"text": "SELECT 1"}}, "cannot be changed"),
		Entry("the command's digest", map[string]any{"command": map[string]any{"sha256": "0000000000000000000000000000000000000000000000000000000000000000"}}, "cannot be changed"),
		Entry("the quorum", map[string]any{"approval": map[string]any{"required": 0}}, "spec.approval.required"),
		Entry("the groups", map[string]any{"approval": map[string]any{"groups": []string{"everybody"}}}, "cannot be changed"),
		Entry("the expiry", map[string]any{"expiresAt": "2099-01-01T00:00:00Z"}, "cannot be changed"),
		Entry("the agent's justification", map[string]any{"justification": "please"}, "cannot be changed"),
		Entry("a verdict that is none", map[string]any{"decision": map[string]any{"verdict": "Maybe"}}, "spec.decision.verdict"),
	)

	It("refuses an entry of the right user that admission did not stamp", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(patch(ctx, alice, request, map[string]any{"decisions": []any{entry("alice@example.com")}})).
			To(MatchError(ContainSubstring("written by admission alone")))
	})

	It("refuses an entry copied from another request", func(ctx SpecContext) {
		first, second := file(ctx, namespace), file(ctx, namespace)
		Expect(decide(ctx, alice, first, v1alpha1.VerdictApprove)).To(Succeed())
		_, kept := stands(ctx, first)
		Expect(patch(ctx, alice, second, map[string]any{"decisions": kept.Spec.Decisions})).To(MatchError(ContainSubstring("written by admission alone")))
	})

	It("refuses to lose or to change what was decided", func(ctx SpecContext) {
		request := file(ctx, namespace)
		Expect(decide(ctx, alice, request, v1alpha1.VerdictDeny)).To(Succeed())
		Expect(patch(ctx, admin, request, map[string]any{"decisions": nil})).To(MatchError(ContainSubstring("spec.decisions keeps what was decided")))
		_, kept := stands(ctx, request)
		kept.Spec.Decisions[0].Verdict = v1alpha1.VerdictApprove
		Expect(admin.Update(ctx, kept)).To(MatchError(ContainSubstring("spec.decisions keeps what was decided")))
	})

	It("lets the operator alone file requests, and none with a decision in it", func(ctx SpecContext) {
		Expect(admin.Create(ctx, requestIn(namespace))).To(MatchError(ContainSubstring("only the chaperone operator files approval requests")))
		Expect(operator.Create(ctx, requestIn(namespace, func(r *v1alpha1.ApprovalRequest) {
			r.Spec.Decision = &v1alpha1.Decision{Verdict: v1alpha1.VerdictApprove}
		}))).To(MatchError(ContainSubstring("are empty in a new request")))
	})

	It("lets the operator alone write status", func(ctx SpecContext) {
		request := file(ctx, namespace)
		request.Status.Phase = v1alpha1.PhaseApproved
		Expect(admin.Status().Update(ctx, request)).To(MatchError(ContainSubstring("status is written by the chaperone operator alone")))
		Expect(operator.Status().Update(ctx, request)).To(Succeed())
		outcome, _ := stands(ctx, request)
		Expect(outcome.Phase).To(Equal(v1alpha1.PhasePending), "a phase is no decision")
	})

	It("guards the metadata that the operator works by, and no other", func(ctx SpecContext) {
		request := file(ctx, namespace)
		change := func(f func(*v1alpha1.ApprovalRequest)) error {
			_, kept := stands(ctx, request)
			changed := kept.DeepCopy()
			f(changed)
			return admin.Patch(ctx, changed, client.MergeFrom(kept))
		}
		Expect(change(func(r *v1alpha1.ApprovalRequest) { r.Labels["chaperone.dev/digest"] = "other" })).To(MatchError(ContainSubstring("label chaperone.dev/digest cannot be changed")))
		Expect(change(func(r *v1alpha1.ApprovalRequest) { delete(r.Labels, "chaperone.dev/digest") })).To(MatchError(ContainSubstring("label chaperone.dev/digest cannot be changed")))
		Expect(change(func(r *v1alpha1.ApprovalRequest) { r.Finalizers = []string{"example.com/x"} })).To(MatchError(ContainSubstring("metadata.finalizers cannot be changed")))
		Expect(change(func(r *v1alpha1.ApprovalRequest) {
			r.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "x", UID: "y"}}
		})).To(MatchError(ContainSubstring("metadata.ownerReferences cannot be changed")))
		Expect(change(func(r *v1alpha1.ApprovalRequest) { r.Labels["example.com/seen"] = "yes" })).To(Succeed())
	})

	It("keeps a pending request from being deleted, but not a decided one, nor by a namespace's end", func(ctx SpecContext) {
		pending, decided := file(ctx, namespace), file(ctx, namespace)
		Expect(admin.Delete(ctx, pending)).To(MatchError(And(ContainSubstring("it is pending; deny it instead: kubectl"), ContainSubstring(pending.Name))))
		Expect(decide(ctx, alice, decided, v1alpha1.VerdictDeny)).To(Succeed())
		Expect(admin.Delete(ctx, decided)).To(Succeed())
		controller := as("system:serviceaccount:kube-system:namespace-controller", "system:masters")
		Expect(controller.DeleteAllOf(ctx, &v1alpha1.ApprovalRequest{}, client.InNamespace(namespace))).To(Succeed())
	})

	It("counts nothing that was written while the webhooks were away", func(ctx SpecContext) {
		request := file(ctx, namespace)
		var mutating admissionregistrationv1.MutatingWebhookConfiguration
		var validating admissionregistrationv1.ValidatingWebhookConfiguration
		for _, config := range []client.Object{&mutating, &validating} {
			Expect(admin.Get(ctx, client.ObjectKey{Name: "chaperone"}, config)).To(Succeed())
			Expect(admin.Delete(ctx, config.DeepCopyObject().(client.Object))).To(Succeed())
		}
		DeferCleanup(func(ctx SpecContext) {
			for _, config := range []client.Object{&mutating, &validating} {
				config.SetResourceVersion("")
				config.SetUID("")
				Expect(admin.Create(ctx, config)).To(Succeed())
			}
			backInForce(ctx)
		})
		Eventually(func() error {
			return patch(ctx, admin, request, map[string]any{"decisions": []any{entry("alice@example.com")}})
		}).WithContext(ctx).WithTimeout(20 * time.Second).Should(Succeed())
		outcome, kept := stands(ctx, request)
		Expect(kept.Spec.Decisions).To(HaveLen(1))
		Expect(outcome.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(outcome.Approvals).To(BeZero())
	})
})
