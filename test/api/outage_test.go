package api_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

var _ = Describe("while the operator is away", Ordered, ContinueOnFailure, Serial, func() {
	const away = "failed calling webhook"
	var namespace string
	var pod *corev1.Pod
	var policy *v1alpha1.AgentPolicy
	var request *v1alpha1.ApprovalRequest
	var alice client.Client

	BeforeAll(func(ctx SpecContext) {
		namespace = protectedNamespace(ctx)
		pod = plainPod(namespace)
		Expect(admin.Create(ctx, pod)).To(Succeed())
		policy = policyIn(namespace, "another")
		Expect(admin.Create(ctx, policy)).To(Succeed())
		request = file(ctx, namespace)
		alice = approver(ctx, namespace, "alice@example.com")

		var mutating admissionregistrationv1.MutatingWebhookConfiguration
		var validating admissionregistrationv1.ValidatingWebhookConfiguration
		for _, config := range []client.Object{&mutating, &validating} {
			Expect(admin.Get(ctx, client.ObjectKey{Name: "chaperone"}, config)).To(Succeed())
		}
		wasMutating, wasValidating := mutating.DeepCopy(), validating.DeepCopy()
		for _, config := range []client.Object{wasMutating, wasValidating} {
			config.SetResourceVersion("") // put back over whatever stands then
			config.SetManagedFields(nil)
		}
		DeferCleanup(func(ctx SpecContext) {
			for _, config := range []client.Object{wasMutating, wasValidating} {
				Expect(admin.Patch(ctx, config, client.Merge)).To(Succeed())
			}
			backInForce(ctx)
		})
		nowhere := ptr.To("https://127.0.0.1:1/")
		for i := range mutating.Webhooks {
			mutating.Webhooks[i].ClientConfig.URL = nowhere
		}
		for i := range validating.Webhooks {
			validating.Webhooks[i].ClientConfig.URL = nowhere
		}
		Expect(admin.Update(ctx, &mutating)).To(Succeed())
		Expect(admin.Update(ctx, &validating)).To(Succeed())
		for _, attempt := range []func() error{
			func() error { return admin.Create(ctx, plainPod(namespace), client.DryRunAll) },
			func() error { return patchPod(ctx, pod, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "x" }) },
		} {
			Eventually(attempt).WithContext(ctx).WithTimeout(10 * time.Second).Should(MatchError(ContainSubstring(away)))
		}
	})

	It("fails closed for pods of a namespace with a policy, and for what would change ours", func(ctx SpecContext) {
		Expect(admin.Create(ctx, plainPod(namespace))).To(MatchError(ContainSubstring(away)))
		Expect(patchPod(ctx, pod, func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "evil" })).To(MatchError(ContainSubstring(away)))
		Expect(patchPod(ctx, pod, func(p *corev1.Pod) { p.Annotations["chaperone.dev/bound-labels"] = "{}" })).To(MatchError(ContainSubstring(away)))
	})

	It("lets other controllers finish their work on those pods", func(ctx SpecContext) {
		Expect(patchPod(ctx, pod, func(p *corev1.Pod) { p.Finalizers = []string{"batch.kubernetes.io/job-tracking"} })).To(Succeed())
		Expect(patchPod(ctx, pod, func(p *corev1.Pod) { p.Finalizers = nil; p.Labels["done"] = "yes" })).To(Succeed())
		Expect(admin.Delete(ctx, pod.DeepCopy(), client.GracePeriodSeconds(0))).To(Succeed())
	})

	It("stops no pod of a namespace without a policy", func(ctx SpecContext) {
		Expect(admin.Create(ctx, plainPod(newNamespace(ctx)))).To(Succeed())
	})

	It("takes no policy and no decision, and lets both be deleted", func(ctx SpecContext) {
		Expect(admin.Create(ctx, policyIn(namespace, "third"))).To(MatchError(ContainSubstring(away)))
		changed := policy.DeepCopy()
		changed.Spec.Enforcement = v1alpha1.EnforcementAudit
		Expect(admin.Patch(ctx, changed, client.MergeFrom(policy))).To(MatchError(ContainSubstring(away)))
		changed = policy.DeepCopy()
		changed.Finalizers = []string{"example.com/x"}
		Expect(admin.Patch(ctx, changed, client.MergeFrom(policy))).To(Succeed())
		Expect(decide(ctx, alice, request, v1alpha1.VerdictApprove)).To(MatchError(ContainSubstring(away)))
		Expect(admin.Delete(ctx, request)).To(Succeed())
	})
})

// patchPod patches the pod as it is kept now.
func patchPod(ctx context.Context, pod *corev1.Pod, change func(*corev1.Pod)) error {
	GinkgoHelper()
	var kept corev1.Pod
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(pod), &kept)).To(Succeed())
	changed := kept.DeepCopy()
	change(changed)
	return admin.Patch(ctx, changed, client.MergeFrom(&kept))
}
