package operator_test

import (
	"context"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

var _ = Describe("The webhook scope controller", func() {
	It("keeps the namespaces with a policy, and the root, whoever changes them", func(ctx SpecContext) {
		// On a configuration of the spec's own name, with rules on a resource that no other spec makes: a webhook
		// that nobody serves must not be in anybody's way.
		const name = "scope-test"
		configuration := apply(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{}, "", `
metadata: {name: scope-test}
webhooks:
- name: pods.scope.test
  clientConfig: {service: {name: chaperone-webhook, namespace: chaperone-system, path: /mutate-pods}}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  objectSelector: {matchLabels: {scope-test: "true"}}
  namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]}
- name: elsewhere.scope.test
  clientConfig: {service: {name: chaperone-webhook, namespace: chaperone-system, path: /mutate-pods}}
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  objectSelector: {matchLabels: {scope-test: "true"}}`)
		DeferCleanup(func(ctx SpecContext) { Expect(kube.Delete(ctx, configuration)).To(Succeed()) })
		validating := apply(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{}, "", "metadata: {name: scope-test}")
		DeferCleanup(func(ctx SpecContext) { Expect(kube.Delete(ctx, validating)).To(Succeed()) })

		skip := true
		mgr, err := ctrl.NewManager(config, ctrl.Options{
			Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
			Controller: ctrlconfig.Controller{SkipNameValidation: &skip},
		})
		Expect(err).NotTo(HaveOccurred())
		var mu sync.Mutex
		roots := testRoot(ctx)
		r := &controllers.WebhookScopeReconciler{
			Client: mgr.GetClient(), Configurations: name, OperatorNamespace: operatorNamespace,
			Roots: func() []byte { mu.Lock(); defer mu.Unlock(); return roots },
		}
		changed := make(chan event.GenericEvent, 1)
		Expect(r.SetupWithManager(mgr, changed)).To(Succeed())
		running, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- mgr.Start(running) }()
		DeferCleanup(func() { cancel(); Eventually(done).WithTimeout(20 * time.Second).Should(Receive(BeNil())) })

		scope := func() (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
			got := &admissionregistrationv1.MutatingWebhookConfiguration{}
			return got, kube.Get(ctx, client.ObjectKey{Name: name}, got)
		}
		selected := func() (out []string, err error) {
			got, err := scope()
			if err != nil {
				return nil, err
			}
			return got.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values, nil
		}
		one, two := namespace(ctx, nil), namespace(ctx, nil)
		first := apply(ctx, &v1alpha1.AgentPolicy{}, one, "metadata: {name: a}\nspec: {podSelector: {}}")
		apply(ctx, &v1alpha1.AgentPolicy{}, two, "metadata: {name: a}\nspec: {podSelector: {}}")
		apply(ctx, &v1alpha1.AgentPolicy{}, "kube-system", "metadata: {name: a}\nspec: {podSelector: {}}")
		DeferCleanup(func(ctx SpecContext) {
			Expect(kube.DeleteAllOf(ctx, &v1alpha1.AgentPolicy{}, client.InNamespace("kube-system"))).To(Succeed())
		})
		Eventually(selected).WithTimeout(10 * time.Second).Should(And(ContainElements(one, two), Not(ContainElement("kube-system"))))
		Expect(r.Selects(ctx, one)).To(Succeed())
		Expect(r.Selects(ctx, "kube-system")).To(MatchError(ContainSubstring("never injected")))
		got, err := scope()
		Expect(err).NotTo(HaveOccurred())
		Expect(got.Webhooks[0].ClientConfig.CABundle).To(Equal(roots))
		Expect(got.Webhooks[1].NamespaceSelector.MatchExpressions[0]).To(Equal(metav1.LabelSelectorRequirement{
			Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-system", operatorNamespace},
		}))

		Expect(r.Registered(ctx)).To(Succeed())

		By("deleting a policy")
		Expect(kube.Delete(ctx, first)).To(Succeed())
		Eventually(selected).WithTimeout(10 * time.Second).ShouldNot(ContainElement(one))

		By("widening the hole by hand")
		got, err = scope()
		Expect(err).NotTo(HaveOccurred())
		got.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"nobody": "has-this"}}
		got.Webhooks[0].ClientConfig.CABundle = nil
		Expect(kube.Update(ctx, got)).To(Succeed())
		Eventually(func(g Gomega) {
			got, err := scope()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got.Webhooks[0].NamespaceSelector.MatchLabels).To(BeEmpty())
			g.Expect(got.Webhooks[0].NamespaceSelector.MatchExpressions[0].Values).To(ContainElement(two))
			g.Expect(got.Webhooks[0].ClientConfig.CABundle).NotTo(BeEmpty())
		}).WithTimeout(10 * time.Second).Should(Succeed())

		By("rotating the root")
		mu.Lock()
		roots = testRoot(ctx)
		want := roots
		mu.Unlock()
		Expect(r.Registered(ctx)).To(MatchError(ContainSubstring("does not have the operator's root yet")))
		changed <- event.GenericEvent{Object: &v1alpha1.AgentPolicy{}}
		Eventually(func() ([]byte, error) {
			got, err := scope()
			if err != nil {
				return nil, err
			}
			return got.Webhooks[1].ClientConfig.CABundle, nil
		}).WithTimeout(10 * time.Second).Should(Equal(want))
	}, SpecTimeout(time.Minute))
})

// testRoot is a new root certificate.
func testRoot(ctx context.Context) []byte {
	GinkgoHelper()
	ns := namespace(ctx, nil)
	a := &certs.Authority{Client: kube, Secret: types.NamespacedName{Namespace: ns, Name: "root"}, Clock: clock.RealClock{}, Log: ctrl.Log}
	Expect(a.Load(ctx)).To(Succeed())
	return a.Roots()
}

var _ = Describe("Several replicas", func() {
	It("that start at once share one root and one set of keys", func(ctx SpecContext) {
		ns := namespace(ctx, nil)
		const replicas = 8
		roots := make([]string, replicas)
		keys := make([]string, replicas)
		var group sync.WaitGroup
		for i := range replicas {
			group.Go(func() {
				defer GinkgoRecover()
				c, err := client.New(config, client.Options{Scheme: scheme})
				Expect(err).NotTo(HaveOccurred())
				a := &certs.Authority{
					Client: c, Secret: types.NamespacedName{Namespace: ns, Name: "root"}, Names: []string{"x"}, Clock: clock.RealClock{}, Log: ctrl.Log,
				}
				Expect(a.Load(ctx)).To(Succeed())
				_, err = a.GetCertificate(nil)
				Expect(err).NotTo(HaveOccurred())
				roots[i] = string(a.Roots())
				k := &certs.Keys{Client: c, Secret: types.NamespacedName{Namespace: ns, Name: "keys"}, Clock: clock.RealClock{}, Log: ctrl.Log}
				Expect(k.Load(ctx)).To(Succeed())
				set := k.Trusted(ctx, "")
				Expect(set).To(HaveLen(1))
				keys[i] = string(k.DecisionMAC) + set[0].ID + k.Sign(record.Head{}).KeyID
			})
		}
		group.Wait()
		for i := range replicas {
			Expect(roots[i]).To(Equal(roots[0]))
			Expect(keys[i]).To(Equal(keys[0]))
		}
	}, SpecTimeout(time.Minute))

	It("count each other's sidecars, and forget a replica that is gone", func(ctx SpecContext) {
		ns := namespace(ctx, nil)
		board := func(name string, c clock.WithTicker) *presence.Board {
			return &presence.Board{Registry: presence.NewRegistry(c), Client: kube, Namespace: ns, Replica: name, Clock: c, Log: ctrl.Log}
		}
		real := clock.RealClock{}
		a, b := board("a", real), board("b", real)
		pod := types.NamespacedName{Namespace: "agents", Name: "one"}
		leave := a.Registry.Connect(pod, "uid-1")
		a.Registry.Held("uid-1", "v;billing=3", "", "1.0")
		b.Registry.Connect(types.NamespacedName{Namespace: "agents", Name: "two"}, "uid-2")
		Expect(a.Publish(ctx)).To(Succeed())
		Expect(b.Publish(ctx)).To(Succeed())
		for _, x := range []*presence.Board{a, b} {
			all, err := x.Sidecars(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(all).To(HaveLen(2))
			Expect(all["uid-1"]).To(And(HaveField("Version", "v;billing=3"), HaveField("Connected", true)))
		}

		By("moving a sidecar from one replica to the other")
		leave()
		b.Registry.Connect(pod, "uid-1")
		Expect(a.Publish(ctx)).To(Succeed())
		Expect(b.Publish(ctx)).To(Succeed())
		for _, x := range []*presence.Board{a, b} {
			all, err := x.Sidecars(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(all["uid-1"].Connected).To(BeTrue())
		}

		By("looking long after a replica has written its last")
		later := board("c", fakeLater(10*time.Minute))
		all, err := later.Sidecars(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(all).To(BeEmpty())
	}, SpecTimeout(time.Minute))
})

// fakeLater is a clock that is ahead.
func fakeLater(d time.Duration) clock.WithTicker { return clocktesting.NewFakeClock(time.Now().Add(d)) }
