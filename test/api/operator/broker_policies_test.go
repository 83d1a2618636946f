package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

const billingPolicy = `
metadata: {name: billing}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: billing
    hosts: [billing-db.prod.svc]
    port: 5432
    postgres:
      credentials: {secretRef: {name: billing-db}}
      rules:
      - {name: writes, match: {commands: [UPDATE]}, action: RequireApproval, approval: {groups: [dba], timeout: 2m}}
      - {name: reads, match: {commands: [SELECT]}, action: Allow}
`

var agent = map[string]string{"app": "agent"}

// follow runs the sidecar's side of the policies stream until the spec ends.
func follow(c *control.Client) *control.Policies {
	GinkgoHelper()
	p, err := control.LoadPolicies(GinkgoT().TempDir(), time.Now)
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Follow(ctx, p) }()
	DeferCleanup(func() { cancel(); <-done })
	return p
}

// names are the policies in force at the sidecar; empty while there are none.
func names(p *control.Policies) func() []string {
	return func() []string {
		current, err := p.Current()
		if err != nil {
			return nil
		}
		out := []string{}
		for _, doc := range current.Set().Policies {
			out = append(out, doc.Name)
		}
		return out
	}
}

var _ = Describe("The broker's policies stream", func() {
	var o *operator
	var ns string
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
	})

	It("sends what was bound at admission, and every change of it, to that pod alone", func(ctx SpecContext) {
		ap := apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s := o.startPod(ctx, ns, "agent", agent, nil)
		p := follow(o.connect(s.token))
		Eventually(names(p)).WithTimeout(10 * time.Second).Should(Equal([]string{"billing"}))

		By("adding a policy for others and one for everybody")
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, "metadata: {name: others}\nspec: {podSelector: {matchLabels: {app: other}}}")
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, "metadata: {name: everybody}\nspec: {podSelector: {}}")
		Eventually(names(p)).WithTimeout(5 * time.Second).Should(Equal([]string{"billing", "everybody"}))

		By("changing a rule")
		begin := time.Now()
		ap.Spec.Targets[0].Postgres.DefaultAction = v1alpha1.ActionAllow
		Expect(kube.Update(ctx, ap)).To(Succeed())
		Eventually(func(g Gomega) {
			current, err := p.Current()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(current.Set().Policies[0].Targets[0].Postgres.DefaultAction).To(Equal(policy.Allow))
			g.Expect(current.Set().Policies[0].Generation).To(Equal(ap.Generation))
		}).WithTimeout(5 * time.Second).WithPolling(5 * time.Millisecond).Should(Succeed())
		AddReportEntry("from kubectl apply to the sidecar", time.Since(begin).String())

		By("knowing which generation the sidecar holds")
		Eventually(func() map[string]int64 {
			known, _ := o.presence.Sidecars()
			return snapshot.Generations(known[s.pod.UID].Version)
		}).WithTimeout(5 * time.Second).Should(Equal(map[string]int64{"billing": ap.Generation, "everybody": 1}))

		By("relabelling the pod, which changes nothing")
		relabelled := s.pod.DeepCopy()
		relabelled.Labels["app"] = "other"
		Expect(kube.Patch(ctx, relabelled, client.MergeFrom(s.pod))).To(Succeed())
		Consistently(names(p)).WithTimeout(2 * time.Second).Should(Equal([]string{"billing", "everybody"}))

		By("deleting every policy, after which nothing is allowed")
		Expect(kube.DeleteAllOf(ctx, &v1alpha1.AgentPolicy{}, client.InNamespace(ns))).To(Succeed())
		Eventually(names(p)).WithTimeout(5 * time.Second).Should(Equal([]string{}))
		current, err := p.Current()
		Expect(err).NotTo(HaveOccurred())
		Expect(current.Passthrough("billing-db.prod.svc", 5432)).To(BeFalse())
	}, SpecTimeout(time.Minute))

	It("refuses in a pod's name whatever is not the token of that sealed, living pod", func(ctx SpecContext) {
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		refused := func(tokenFile, why string) {
			GinkgoHelper()
			_, err := o.connect(tokenFile).Lease(ctx, ns+"/billing", "billing")
			Expect(err).To(MatchError(ContainSubstring(why)))
		}
		s := o.startPod(ctx, ns, "agent", agent, nil)

		By("a token of the API server's own audience")
		refused(tokenFor(ctx, s.pod, "https://kubernetes.default.svc.cluster.local"), "the token")

		By("the token of a pod whose sidecar image was changed after it was sealed")
		changed := o.startPod(ctx, ns, "changed", agent, func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "localhost/mine:1" })
		refused(changed.token, "not as they were injected")

		By("the token of a pod whose bound labels were forged")
		forged := o.startPod(ctx, ns, "forged", agent, func(p *corev1.Pod) {
			p.Annotations[layout.BoundLabelsAnnotation] = `{"app":"admin"}`
		})
		refused(forged.token, "not as they were injected")

		By("a pod without any sidecar that has got hold of a token with our audience")
		plain := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "localhost/agent:1"}}}}
		plain.Name, plain.Namespace, plain.Spec.ServiceAccountName = "plain", ns, "default"
		Expect(kube.Create(ctx, plain)).To(Succeed())
		refused(tokenFor(ctx, plain, layout.TokenAudience), "chaperone guard")

		By("the token of a pod that was deleted and made again")
		refused(s.token, "secret "+ns+"/billing-db does not exist") // known to the broker now, and no longer asked about
		Expect(kube.Delete(ctx, s.pod, client.GracePeriodSeconds(0))).To(Succeed())
		o.startPod(ctx, ns, "agent", agent, nil)
		refused(s.token, "is gone")
	}, SpecTimeout(time.Minute))

	It("ends the stream of a pod that is gone", func(ctx SpecContext) {
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s := o.startPod(ctx, ns, "agent", agent, nil)
		p := follow(o.connect(s.token))
		Eventually(names(p)).WithTimeout(10 * time.Second).Should(Equal([]string{"billing"}))
		Expect(kube.Delete(ctx, s.pod, client.GracePeriodSeconds(0))).To(Succeed())
		Eventually(func() bool {
			known, _ := o.presence.Sidecars()
			return known[s.pod.UID].Connected
		}).WithTimeout(20 * time.Second).Should(BeFalse())
	}, SpecTimeout(time.Minute))

	It("keeps a policy with a missing reference from being used, and heals when the reference appears", func(ctx SpecContext) {
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: billing}
spec:
  podSelector: {}
  targets:
  - name: billing
    hosts: [billing-db.prod.svc]
    port: 5432
    postgres: {defaultAction: Allow, tls: {caFrom: {configMapKeyRef: {name: db-ca, key: ca.crt}}}}
`)
		s := o.startPod(ctx, ns, "agent", agent, nil)
		p := follow(o.connect(s.token))
		decide := func() policy.Verdict {
			current, err := p.Current()
			if err != nil {
				return policy.Verdict{Message: err.Error()}
			}
			return current.Lookup("billing-db.prod.svc", 5432).Decide(policy.Command{Protocol: policy.ProtocolPostgres, Text: "SELECT 1", SQL: &policy.SQL{Command: "SELECT"}})
		}
		Eventually(decide).WithTimeout(10 * time.Second).Should(And(
			HaveField("Action", policy.Deny), HaveField("Message", ContainSubstring("configmap "+ns+"/db-ca does not exist"))))
		apply(ctx, &corev1.ConfigMap{}, ns, "metadata: {name: db-ca}\ndata: {ca.crt: %q}", o.roots)
		Eventually(decide).WithTimeout(40 * time.Second).Should(HaveField("Action", policy.Allow))
	}, SpecTimeout(90*time.Second))
})
