package api_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/guard"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/seal"
)

var _ = Describe("injection", func() {
	It("puts the sidecar first, takes the token from the agent and keeps the plugin from putting it back", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		pod := plainPod(namespace)
		Expect(admin.Create(ctx, pod)).To(Succeed())
		Expect(pod).To(beInjected())
		Expect(pod.Annotations).To(HaveKeyWithValue(layout.BoundLabelsAnnotation, `{"app":"agent"}`))
		Expect(pod.Labels).To(HaveKeyWithValue(layout.InjectedLabel, inject.Version))
		Expect(pod.Spec.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
		for _, v := range pod.Spec.Volumes {
			Expect(v.Name).NotTo(HavePrefix("kube-api-access-"))
		}
		agent := pod.Spec.Containers[0]
		Expect(agent.VolumeMounts).To(ContainElement(HaveField("MountPath", layout.ServiceAccountPath)))
		Expect(agent.SecurityContext.Capabilities.Drop).To(ConsistOf(corev1.Capability("ALL")))
		Expect(agent.SecurityContext.AllowPrivilegeEscalation).To(HaveValue(BeFalse()))
	})

	It("makes a seal that holds over the pod as the API server keeps it, defaults, LimitRange and AlwaysPullImages included", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		Expect(admin.Create(ctx, &corev1.LimitRange{
			ObjectMeta: metav1.ObjectMeta{Name: "defaults", Namespace: namespace},
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
				Type:    corev1.LimitTypeContainer,
				Default: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")},
			}}},
		})).To(Succeed())
		Eventually(func(g Gomega) {
			pod := plainPod(namespace)
			g.Expect(admin.Create(ctx, pod)).To(Succeed())
			g.Expect(pod.Spec.InitContainers[1].Resources.Limits).To(HaveKey(corev1.ResourceEphemeralStorage), "the LimitRange has not been taken up yet")
			g.Expect(pod.Spec.InitContainers[1].ImagePullPolicy).To(Equal(corev1.PullAlways))
			var kept corev1.Pod
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(pod), &kept)).To(Succeed())
			_, err := seal.Verify(&kept, decisionKey)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(guard.Live().Run(guard.Input{Pod: &kept, Key: decisionKey})).To(BeNil())
		}).WithContext(ctx).WithTimeout(20 * time.Second).Should(Succeed())
	})

	It("changes nothing on a dry run and injects the pod that it shows", func(ctx SpecContext) {
		pod := plainPod(protectedNamespace(ctx))
		Expect(admin.Create(ctx, pod, client.DryRunAll)).To(Succeed())
		Expect(pod).To(beInjected())
	})

	It("leaves a pod alone that no policy selects", func(ctx SpecContext) {
		pod := plainPod(protectedNamespace(ctx))
		pod.Labels = map[string]string{"app": "web"}
		Expect(admin.Create(ctx, pod)).To(Succeed())
		Expect(pod.Spec.InitContainers).To(BeEmpty())
		Expect(pod.Spec.Volumes).To(ConsistOf(HaveField("Name", HavePrefix("kube-api-access-"))))
	})

	It("never lets a pod through that is created right after its policy, a hundred times, before the operator has noticed", func(ctx SpecContext) {
		for i := range 100 {
			namespace := fmt.Sprintf("race-%d-%d", GinkgoRandomSeed(), i)
			Expect(admin.Create(ctx, namespaced(namespace))).To(Succeed())
			Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: namespace}})).To(Succeed())
			pod := plainPod(namespace)
			Expect(admin.Create(ctx, policyIn(namespace, "billing"))).To(Succeed())
			Expect(admin.Create(ctx, pod)).To(Succeed())
			Expect(pod).To(beInjected(), "attempt %d", i)
		}
	})

	It("draws another uid for every pod", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		seen := map[int64]bool{}
		for range 5 {
			pod := plainPod(namespace)
			Expect(admin.Create(ctx, pod)).To(Succeed())
			uid, ok := inject.UID(pod)
			Expect(ok).To(BeTrue())
			Expect(seen).NotTo(HaveKey(uid))
			seen[uid] = true
		}
	})

	It("runs beside a pod that demands not to run as root, and one in a user namespace", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		pod := plainPod(namespace)
		pod.Spec.HostUsers = ptr.To(false)
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](1000)}
		Expect(admin.Create(ctx, pod)).To(Succeed())
		Expect(pod).To(beInjected())
		uid, _ := inject.UID(pod)
		Expect(uid).To(And(BeNumerically(">=", inject.FirstUserUID), BeNumerically("<", inject.FirstUserUID+inject.UserUIDs)))
	})

	It("takes a copy of an injected pod for a new pod", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		first := plainPod(namespace)
		Expect(admin.Create(ctx, first)).To(Succeed())
		copied := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "copy", Namespace: namespace, Labels: first.Labels}, Spec: *first.Spec.DeepCopy()}
		copied.Spec.InitContainers[1].Image = "registry.example/evil:1"
		Expect(admin.Create(ctx, copied)).To(Succeed())
		Expect(copied).To(beInjected())
		Expect(copied.Spec.InitContainers).To(HaveLen(2))
		Expect(copied.Spec.InitContainers[1].Image).To(Equal(sidecarImage))
		was, _ := inject.UID(first)
		is, _ := inject.UID(copied)
		Expect(is).NotTo(Equal(was))
	})

	It("leaves of capabilities what all policies leave, and overlays every file that they name", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		second := policyIn(namespace, "second")
		second.Spec.Targets = nil
		second.Spec.Containers = &v1alpha1.ContainerRestrictions{Capabilities: []v1alpha1.AgentCapability{"CHOWN", "SYS_CHROOT"}}
		second.Spec.Trust = &v1alpha1.Trust{Paths: []string{"/etc/ssl/db-ca.pem"}}
		Expect(admin.Create(ctx, second)).To(Succeed())
		Eventually(func(g Gomega) {
			pod := plainPod(namespace)
			g.Expect(admin.Create(ctx, pod)).To(Succeed())
			g.Expect(pod.Spec.Containers[0].SecurityContext.Capabilities.Add).To(ConsistOf(corev1.Capability("CHOWN")))
			g.Expect(pod.Spec.Containers[0].VolumeMounts).To(ContainElement(And(
				HaveField("MountPath", "/etc/ssl/db-ca.pem"), HaveField("SubPath", layout.CAFile), HaveField("ReadOnly", true))))
		}).WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
	})

	DescribeTable("converges with other people's webhooks",
		func(ctx SpecContext, name, path string, check func(Gomega, *corev1.Pod)) {
			namespace := protectedNamespace(ctx)
			meddle(ctx, name, path, namespace, pods, admissionregistrationv1.Create)
			Eventually(func(g Gomega) {
				pod := plainPod(namespace)
				g.Expect(admin.Create(ctx, pod)).To(Succeed())
				g.Expect(atWork(path, namespace)).To(BeTrue())
				g.Expect(pod).To(beInjected())
				check(g, pod)
			}).WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
		},
		Entry("one that puts its init container first, after ours has run", "zz-mesh", "/meddle-init-first", func(g Gomega, pod *corev1.Pod) {
			g.Expect(initNames(pod)).To(Equal([]string{layout.RedirectContainer, layout.SidecarContainer, "mesh-init"}))
			g.Expect(pod.Spec.InitContainers[2].SecurityContext.Capabilities.Drop).To(ConsistOf(corev1.Capability("ALL")))
		}),
		Entry("one that puts its init container first, before ours has run", "aa-mesh", "/meddle-init-first", func(g Gomega, pod *corev1.Pod) {
			g.Expect(initNames(pod)).To(Equal([]string{layout.RedirectContainer, layout.SidecarContainer, "mesh-init"}))
		}),
		Entry("one that changes labels after ours has run", "zz-label", "/meddle-label", func(g Gomega, pod *corev1.Pod) {
			g.Expect(pod.Annotations).To(HaveKeyWithValue(layout.BoundLabelsAnnotation, `{"app":"agent","mesh":"on"}`))
		}),
	)

	It("mends its container where another webhook changed it", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		meddle(ctx, "zz-env", "/meddle-sidecar-env", namespace, pods, admissionregistrationv1.Create)
		Eventually(func(g Gomega) {
			pod := plainPod(namespace)
			g.Expect(admin.Create(ctx, pod)).To(Succeed())
			g.Expect(atWork("/meddle-sidecar-env", namespace)).To(BeTrue())
			g.Expect(pod.Spec.InitContainers[1].Env).NotTo(ContainElement(HaveField("Name", "GODEBUG")))
			_, err := seal.Verify(pod, decisionKey)
			g.Expect(err).NotTo(HaveOccurred())
		}).WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
	})

	It("lets the guard refuse the pod where another webhook has the last word about its container", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		meddle(ctx, "zz-env", "/meddle-sidecar-env", namespace, pods, admissionregistrationv1.Create, again)
		Eventually(func() error { return admin.Create(ctx, plainPod(namespace)) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(ContainSubstring("chaperone guard: seal")))
	})

	It("is refused with Pod Security's own words where the namespace allows no NET_ADMIN", func(ctx SpecContext) {
		namespace := protectedNamespace(ctx)
		var ns corev1.Namespace
		Expect(admin.Get(ctx, client.ObjectKey{Name: namespace}, &ns)).To(Succeed())
		ns.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
		Expect(admin.Update(ctx, &ns)).To(Succeed())
		Eventually(func() error { return admin.Create(ctx, plainPod(namespace)) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(And(ContainSubstring("PodSecurity"), ContainSubstring(layout.RedirectContainer))))
	})

	It("never touches kube-system, whatever policies are there", func(ctx SpecContext) {
		Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "kube-system"}})).
			To(Or(Succeed(), MatchError(ContainSubstring("already exists"))))
		pod := plainPod("kube-system")
		Expect(admin.Create(ctx, pod)).To(Succeed())
		Expect(pod.Spec.InitContainers).To(BeEmpty())
	})

	It("names the pod and the way out in a refusal", func(ctx SpecContext) {
		pod := plainPod(protectedNamespace(ctx))
		pod.Spec.Containers[0].Name = layout.SidecarContainer
		err := admin.Create(ctx, pod)
		Expect(err).To(MatchError(And(ContainSubstring(strings.TrimSuffix(pod.GenerateName, "-")), ContainSubstring("rename the container"))))
	})
})
