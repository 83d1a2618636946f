package operator_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/naming"
)

// notes are what the events of a reason say on an object.
func notes(ctx context.Context, obj client.Object, reason string) func() []string {
	return func() []string {
		list := &eventsv1.EventList{}
		Expect(kube.List(ctx, list, client.InNamespace(obj.GetNamespace()))).To(Succeed())
		var out []string
		for _, e := range list.Items {
			if e.Regarding.UID == obj.GetUID() && e.Reason == reason {
				out = append(out, e.Note)
			}
		}
		return out
	}
}

var _ = Describe("Events of an approval", func() {
	var o *operator
	var ns string
	var ap *v1alpha1.AgentPolicy
	var s *sidecar
	var r *controllers.ApprovalRequestReconciler
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		ap = apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s = o.startPod(ctx, ns, "agent", agent, nil)
		r = &controllers.ApprovalRequestReconciler{Client: kube, Key: o.keys.DecisionMAC, Retention: time.Hour, Events: recorder(), Clock: clock.RealClock{}}
	})
	filed := func(ctx context.Context, name string) *v1alpha1.ApprovalRequest {
		GinkgoHelper()
		ar := &v1alpha1.ApprovalRequest{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, ar)).To(Succeed())
		return ar
	}

	DescribeTable("are on the pod, the policy and the request, with the command to decide and then the outcome",
		func(ctx SpecContext, entry v1alpha1.StampedDecision, reason, says string) {
			a := ask(ctx, o.connect(s.token), ns+"/billing", "UPDATE customers SET plan = 'free'", 60)
			ar := filed(ctx, a.name())
			all := map[string]client.Object{"pod": s.pod, "policy": ap, "request": ar}
			for what, obj := range all {
				Eventually(notes(ctx, obj, "ApprovalRequested")).WithTimeout(30*time.Second).Should(ConsistOf(And(
					ContainSubstring("UPDATE customers SET plan = 'free' of target billing waits for approval by rule writes of policy billing"),
					HaveSuffix(naming.Decide(ns, ar.Name, "Approve")))), what)
			}
			decide(ctx, o.keys.DecisionMAC, ns, ar.Name, "alice", entry)
			_ = a.outcome()
			_, err := r.Reconcile(ctx, request(ar))
			Expect(err).NotTo(HaveOccurred())
			for what, obj := range all {
				Eventually(notes(ctx, obj, reason)).WithTimeout(30*time.Second).Should(ConsistOf(ContainSubstring(says)), what)
			}
		},
		Entry("denied", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: "not before the audit"}, "ApprovalDenied", "denied by alice: not before the audit", SpecTimeout(2*time.Minute)),
		Entry("denied at length", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: strings.Repeat("€", 340)}, "ApprovalDenied", "denied by alice: €€€", SpecTimeout(2*time.Minute)),
	)

	It("say it even where the agent says as much as it can", func(ctx SpecContext) {
		long := strings.Repeat("𝄞", 4000)
		a := ask(ctx, o.connect(s.token), ns+"/billing", "UPDATE t SET a = '"+long+"'", 0)
		Expect(a.outcome()).To(HaveOccurred())
		ar := filed(ctx, a.name())
		for _, obj := range []client.Object{s.pod, ap, ar} {
			Eventually(notes(ctx, obj, "ApprovalRequested")).WithTimeout(30 * time.Second).Should(ConsistOf(ContainSubstring(naming.Decide(ns, ar.Name, "Approve"))))
		}
	}, SpecTimeout(2*time.Minute))

	It("say on the pod and its policy that nothing can be recorded", func(ctx SpecContext) {
		quota := apply(ctx, &corev1.ResourceQuota{}, ns, "metadata: {name: none}\nspec: {hard: {count/sessionrecordings.chaperone.dev: '0'}}")
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard} // as the controller manager would count
		Expect(kube.Status().Update(ctx, quota)).To(Succeed())
		Expect(openLog(ctx, o, s, ns)).To(MatchError(ContainSubstring("exceeded quota: none")))
		for _, obj := range []client.Object{s.pod, ap} {
			Eventually(notes(ctx, obj, "NotRecorded")).WithTimeout(30 * time.Second).Should(ContainElement(ContainSubstring("exceeded quota: none")))
		}
	}, SpecTimeout(2*time.Minute))
})
