package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// startPolicyController runs the reconciler of policies beside an operator's broker, until the spec ends.
func startPolicyController(o *operator) {
	GinkgoHelper()
	skip := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", Logger: ctrl.Log,
		Controller: ctrlconfig.Controller{SkipNameValidation: &skip},
	})
	Expect(err).NotTo(HaveOccurred())
	board := &presence.Board{Registry: o.presence, Alone: true}
	r := &controllers.AgentPolicyReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Sets:     &broker.Sets{Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{}, Log: ctrl.Log},
		Sidecars: board.Sidecars, Webhooks: func(context.Context, string) error { return nil },
		OperatorNamespace: operatorNamespace, Events: mgr.GetEventRecorder("chaperone"), Clock: clock.RealClock{}, Started: time.Now(),
	}
	Expect(r.SetupWithManager(mgr, o.presence)).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	DeferCleanup(func() {
		cancel()
		Eventually(done).WithTimeout(30 * time.Second).Should(Receive(BeNil()))
	})
}

var _ = Describe("The policy controller", func() {
	var o *operator
	var ns string
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		startPolicyController(o)
	})
	// says waits for what a policy's status says.
	says := func(ctx context.Context, ap *v1alpha1.AgentPolicy, condition, reason string, more ...func(Gomega)) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(ap), ap)).To(Succeed())
			c := meta.FindStatusCondition(ap.Status.Conditions, condition)
			g.Expect(c).NotTo(BeNil())
			g.Expect(c.Reason).To(Equal(reason), c.Message)
			g.Expect(ap.Status.ObservedGeneration).To(Equal(ap.Generation))
			for _, m := range more {
				m(g)
			}
		}).WithTimeout(25 * time.Second).WithPolling(100 * time.Millisecond).Should(Succeed())
	}

	It("counts pods and sidecars, and names those that are not protected", func(ctx SpecContext) {
		before := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "localhost/agent:1"}}}}
		before.Name, before.Namespace, before.Labels = "before", ns, agent
		apply(ctx, &corev1.ServiceAccount{}, ns, "metadata: {name: default}")
		Expect(kube.Create(ctx, before)).To(Succeed())
		time.Sleep(1100 * time.Millisecond) // creation times are whole seconds
		apply(ctx, &corev1.Secret{}, ns, "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: app, password: x}")
		ap := apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		says(ctx, ap, "Ready", "Ready")
		says(ctx, ap, "Protecting", "PodsUnprotected", func(g Gomega) {
			g.Expect(ap.Status.Pods).To(Equal(v1alpha1.PodCounts{Selected: 1, Unprotected: 1}))
			g.Expect(meta.FindStatusCondition(ap.Status.Conditions, "Protecting").Message).To(ContainSubstring("pod before has run since before the policy"))
		})
		Eventually(eventReasons(ctx, ap)).WithTimeout(10 * time.Second).Should(ContainElements("Ready", "PodsUnprotected"))

		By("replacing it with one that is injected")
		Expect(kube.Delete(ctx, before, client.GracePeriodSeconds(0))).To(Succeed())
		s := o.startPod(ctx, ns, "agent", agent, nil)
		p := follow(o.connect(s.token))
		says(ctx, ap, "Protecting", "AllPodsProtected", func(g Gomega) {
			g.Expect(ap.Status.Pods).To(Equal(v1alpha1.PodCounts{Selected: 1, Protected: 1}))
			g.Expect(ap.Status.Sidecars).To(Equal([]v1alpha1.GenerationCount{{Generation: ap.Generation, Count: 1}}))
		})

		By("changing the policy, which the sidecar takes up")
		ap.Spec.Targets[0].Postgres.DefaultAction = v1alpha1.ActionAllow
		Expect(kube.Update(ctx, ap)).To(Succeed())
		says(ctx, ap, "Protecting", "AllPodsProtected", func(g Gomega) {
			g.Expect(ap.Status.Sidecars).To(Equal([]v1alpha1.GenerationCount{{Generation: ap.Generation, Count: 1}}))
		})
		Expect(names(p)()).To(Equal([]string{"billing"}))

		By("changing the namespace to a Pod Security level that refuses the redirect")
		namespaced := &corev1.Namespace{}
		Expect(kube.Get(ctx, client.ObjectKey{Name: ns}, namespaced)).To(Succeed())
		namespaced.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
		Expect(kube.Update(ctx, namespaced)).To(Succeed())
		says(ctx, ap, "Protecting", "RefusedByPodSecurity")
	}, SpecTimeout(2*time.Minute))

	It("tells of a role that could do more than any policy holds, until it cannot", func(ctx SpecContext) {
		apply(ctx, &corev1.ServiceAccount{}, ns, "metadata: {name: default}")
		apply(ctx, &corev1.Secret{}, ns, "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: app, password: x}")
		ap := apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s := o.startPod(ctx, ns, "agent", agent, nil)
		c := o.connect(s.token)
		c.Role(session.Role{Policy: ns + "/billing", Target: "billing", Name: "app", Powers: []string{"SUPERUSER"}})
		c.Role(session.Role{Policy: ns + "/other", Target: "billing", Name: "app", Powers: []string{"REPLICATION"}})
		follow(c)
		says(ctx, ap, "LeastPrivilege", "PowerfulRole", func(g Gomega) {
			found := meta.FindStatusCondition(ap.Status.Conditions, "LeastPrivilege")
			g.Expect(found.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(found.Message).To(And(ContainSubstring(`target billing logs in as "app", which is a superuser`), ContainSubstring("NOSUPERUSER"), Not(ContainSubstring("REPLICATION"))))
		})
		Eventually(eventReasons(ctx, ap)).WithTimeout(10 * time.Second).Should(ContainElement("PowerfulRole"))

		By("looking again, after somebody has taken that from it")
		c.Role(session.Role{Policy: ns + "/billing", Target: "billing", Name: "app"})
		ap.Spec.Targets[0].Postgres.DefaultAction = v1alpha1.ActionAllow // the answer to the new set carries it
		Expect(kube.Update(ctx, ap)).To(Succeed())
		says(ctx, ap, "LeastPrivilege", "RolesLimited")
	}, SpecTimeout(2*time.Minute))

	It("says what is not ready, and heals when it is", func(ctx SpecContext) {
		ap := apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		says(ctx, ap, "Ready", "CredentialsNotReady", func(g Gomega) {
			g.Expect(meta.FindStatusCondition(ap.Status.Conditions, "Ready").Message).To(ContainSubstring(
				"spec.targets[0].postgres.credentials.secretRef: secret " + ns + "/billing-db does not exist"))
		})
		says(ctx, ap, "Protecting", "NoPodSelected")
		apply(ctx, &corev1.Secret{}, ns, "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: app, password: x}")
		says(ctx, ap, "Ready", "Ready")

		By("adding a policy that gives another credential for the same destination")
		other := apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: other}
spec:
  podSelector: {}
  targets: [{name: db, hosts: [billing-db.prod.svc], port: 5432, postgres: {credentials: {secretRef: {name: other-db}}}}]`)
		says(ctx, ap, "Ready", "ConflictingTargets", func(g Gomega) {
			g.Expect(meta.FindStatusCondition(ap.Status.Conditions, "Ready").Message).To(And(
				ContainSubstring("billing-db.prod.svc port 5432"), ContainSubstring("different credentials")))
		})
		says(ctx, other, "Ready", "ConflictingTargets")
		Expect(kube.Delete(ctx, other)).To(Succeed())
		says(ctx, ap, "Ready", "Ready")
	}, SpecTimeout(2*time.Minute))
})
