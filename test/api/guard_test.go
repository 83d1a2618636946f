package api_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

var _ = Describe("the guard at creation", Ordered, ContinueOnFailure, func() {
	var namespace string
	BeforeAll(func(ctx SpecContext) {
		namespace = protectedNamespace(ctx, func(p *v1alpha1.AgentPolicy) {
			p.Spec.Containers = &v1alpha1.ContainerRestrictions{RequirePinnedImages: true}
		})
		Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot", Namespace: namespace}})).To(Succeed())
		Expect(admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "robot-token", Namespace: namespace, Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
			Type:       corev1.SecretTypeServiceAccountToken,
		})).To(Succeed())
	})

	pinned := func() *corev1.Pod {
		pod := plainPod(namespace)
		pod.Spec.Containers[0].Image += "@sha256:" + strings.Repeat("0", 64)
		return pod
	}
	sc := func(c *corev1.SecurityContext) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = c }
	}
	volume := func(source corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}} }
	}
	projected := func(p corev1.VolumeProjection) func(*corev1.Pod) {
		return volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{p}}})
	}
	mount := func(name, at string, readOnly bool) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: name, MountPath: at, ReadOnly: readOnly}}
		}
	}

	It("lets a pod through that asks for nothing of the kind", func(ctx SpecContext) {
		Expect(admin.Create(ctx, pinned())).To(Succeed())
	})

	DescribeTable("refuses what leads around the sidecar",
		func(ctx SpecContext, change func(*corev1.Pod), check string) {
			pod := pinned()
			change(pod)
			err := admin.Create(ctx, pod)
			Expect(err).To(MatchError(And(ContainSubstring("(chaperone guard: "+check+")"), ContainSubstring("pod "+namespace+"/worker-"))))
		},
		Entry("hostNetwork", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "host-namespaces"),
		Entry("hostPID", func(p *corev1.Pod) { p.Spec.HostPID = true }, "host-namespaces"),
		Entry("hostIPC", func(p *corev1.Pod) { p.Spec.HostIPC = true }, "host-namespaces"),
		Entry("a shared process namespace", func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = ptr.To(true) }, "shared-processes"),
		Entry("a privileged container", sc(&corev1.SecurityContext{Privileged: ptr.To(true)}), "privileged"),
		Entry("NET_ADMIN", sc(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}), "capabilities"),
		Entry("NET_RAW by its long name", sc(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CAP_NET_RAW"}}}), "capabilities"),
		Entry("SETUID in lower case", sc(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"setuid"}}}), "capabilities"),
		Entry("ALL capabilities", sc(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"ALL"}}}), "capabilities"),
		Entry("SYS_ADMIN with privilege escalation", sc(&corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(true), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CAP_SYS_ADMIN"}}}), "capabilities"),
		Entry("an init container with NET_ADMIN", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: p.Spec.Containers[0].Image, SecurityContext: &corev1.SecurityContext{
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}},
			}}}
		}, "capabilities"),
		Entry("an unmasked /proc", func(p *corev1.Pod) {
			p.Spec.HostUsers = ptr.To(false)
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ProcMount: ptr.To(corev1.UnmaskedProcMount)}
		}, "proc-mount"),
		Entry("a hostPath", volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/kubelet"}}), "host-path"),
		Entry("a network volume of the node's", volume(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "evil.example", Path: "/"}}), "node-network"),
		Entry("an inline CSI volume", volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io"}}), "inline-csi"),
		Entry("a token of the default audience", projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}), "token-projection"),
		Entry("a second token with the broker's audience", projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: layout.TokenAudience, Path: "t"}}), "token-projection"),
		Entry("a token Secret as a volume", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "robot-token"}}), "token-secret"),
		Entry("a token Secret as a variable", func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "T", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "robot-token"}, Key: "token",
			}}}}
		}, "token-secret"),
		Entry("the policy's Secret as a volume", volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "billing-db"}}), "policy-secret"),
		Entry("the policy's Secret in a projection", projected(corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "billing-db"}}}), "policy-secret"),
		Entry("the policy's Secret in envFrom of an init container", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: p.Spec.Containers[0].Image, EnvFrom: []corev1.EnvFromSource{{
				SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "billing-db"}},
			}}}}
		}, "policy-secret"),
		Entry("a variable from a file of the sidecar's", func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{
				VolumeName: layout.StateVolume, Path: "policy.json", Key: "K",
			}}}}
		}, "sidecar-volume"),
		Entry("an image by tag where the policy wants it pinned", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "registry.example/agent:1" }, "pinned-images"),
	)

	It("takes an explicit user for a pinned image", func(ctx SpecContext) {
		pod := plainPod(namespace)
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000)}
		Expect(admin.Create(ctx, pod)).To(Succeed())
	})

	DescribeTable("leaves an agent no way into the sidecar's volumes",
		func(ctx SpecContext, change func(*corev1.Pod)) {
			pod := pinned()
			change(pod)
			if err := admin.Create(ctx, pod); err != nil {
				return // the volume is not the pod author's to name
			}
			for _, m := range pod.Spec.Containers[0].VolumeMounts {
				Expect(m.Name).NotTo(BeElementOf(layout.StateVolume, layout.SpoolVolume, layout.IdentityVolume))
				if layout.OurVolume(m.Name) {
					Expect(m.ReadOnly).To(BeTrue())
				}
			}
		},
		Entry("the identity", mount(layout.IdentityVolume, "/stolen", true)),
		Entry("the state", mount(layout.StateVolume, "/stolen", true)),
		Entry("the spool", mount(layout.SpoolVolume, "/stolen", false)),
		Entry("the trust, writable", mount(layout.TrustVolume, "/forge", false)),
	)

	Context("of a pod that no policy selects", func() {
		unselected := func() *corev1.Pod {
			pod := plainPod(namespace)
			pod.Labels = map[string]string{"app": "web"}
			return pod
		}

		It("refuses the policy's Secret", func(ctx SpecContext) {
			pod := unselected()
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "billing-db"}}}}
			Expect(admin.Create(ctx, pod)).To(MatchError(ContainSubstring("chaperone guard: policy-secret")))
		})

		It("refuses a token for the broker", func(ctx SpecContext) {
			pod := unselected()
			projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: layout.TokenAudience, Path: "t"}})(pod)
			Expect(admin.Create(ctx, pod)).To(MatchError(ContainSubstring("chaperone guard: broker-token")))
		})

		It("takes the marks of an injected pod away", func(ctx SpecContext) {
			pod := unselected()
			pod.Annotations = map[string]string{layout.BoundLabelsAnnotation: `{"app":"agent"}`, layout.InjectedAnnotation: inject.Version}
			Expect(admin.Create(ctx, pod)).To(Succeed())
			Expect(pod.Annotations).To(BeEmpty())
		})

		It("lets anything else through, a hostPath included", func(ctx SpecContext) {
			pod := unselected()
			volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"}})(pod)
			Expect(admin.Create(ctx, pod)).To(Succeed())
		})
	})
})

var _ = Describe("the guard on a pod that runs", Ordered, ContinueOnFailure, func() {
	var namespace string
	var pod *corev1.Pod
	BeforeAll(func(ctx SpecContext) {
		namespace = protectedNamespace(ctx)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
		Expect(admin.Create(ctx, node)).To(Succeed())
		node.Status.Allocatable = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("10"),
		}
		node.Status.Capacity = node.Status.Allocatable
		Expect(admin.Status().Update(ctx, node)).To(Succeed())
		pod = plainPod(namespace)
		pod.Spec.NodeName = "node-1"
		Expect(admin.Create(ctx, pod)).To(Succeed())
		Expect(pod).To(beInjected())
	})

	patch := func(ctx context.Context, change func(*corev1.Pod)) error {
		changed := pod.DeepCopy()
		change(changed)
		return admin.Patch(ctx, changed, client.MergeFrom(pod))
	}

	DescribeTable("refuses changes to what is ours",
		func(ctx SpecContext, change func(*corev1.Pod), check string) {
			Expect(patch(ctx, change)).To(MatchError(ContainSubstring("chaperone guard: " + check)))
		},
		Entry("the sidecar's image", func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "registry.example/evil:1" }, "sidecar-image"),
		Entry("the redirect's image", func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "registry.example/evil:1" }, "sidecar-image"),
		Entry("the bound labels", func(p *corev1.Pod) { p.Annotations[layout.BoundLabelsAnnotation] = `{"app":"other"}` }, "marks"),
		Entry("the seal", func(p *corev1.Pod) { delete(p.Annotations, layout.SealAnnotation) }, "marks"),
		Entry("the injected annotation", func(p *corev1.Pod) { delete(p.Annotations, layout.InjectedAnnotation) }, "marks"),
		Entry("the injected label", func(p *corev1.Pod) { p.Labels[layout.InjectedLabel] = "no" }, "marks"),
	)

	It("lets an agent's image, labels, annotations and finalizers be changed", func(ctx SpecContext) {
		Expect(patch(ctx, func(p *corev1.Pod) {
			p.Spec.Containers[0].Image = "registry.example/agent:2"
			p.Labels["app"] = "relabelled"
			p.Annotations["example.com/x"] = "y"
			p.Finalizers = []string{"example.com/job"}
		})).To(Succeed())
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		Expect(patch(ctx, func(p *corev1.Pod) { p.Finalizers = nil })).To(Succeed())
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
	})

	It("refuses a resize of ours and lets one of the agent's through to the API server", func(ctx SpecContext) {
		changed := pod.DeepCopy()
		changed.Spec.InitContainers[1].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("16Mi")
		changed.Spec.InitContainers[1].Resources.Requests[corev1.ResourceMemory] = resource.MustParse("16Mi")
		// The API server's own check of the node comes first, from its watch.
		Eventually(func() error { return admin.SubResource("resize").Update(ctx, changed.DeepCopy()) }).WithContext(ctx).WithTimeout(10 * time.Second).
			Should(MatchError(ContainSubstring("chaperone guard: sidecar-changed")))
		changed = pod.DeepCopy()
		changed.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
		if err := admin.SubResource("resize").Update(ctx, changed); err != nil {
			Expect(err.Error()).NotTo(ContainSubstring("chaperone"))
		}
	})

	debug := func(name string, change func(*corev1.EphemeralContainer)) func(context.Context) (*corev1.Pod, error) {
		return func(ctx context.Context) (*corev1.Pod, error) {
			var current corev1.Pod
			if err := admin.Get(ctx, client.ObjectKeyFromObject(pod), &current); err != nil {
				return nil, err
			}
			c := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "busybox"}}
			change(&c)
			current.Spec.EphemeralContainers = append(current.Spec.EphemeralContainers, c)
			err := admin.SubResource("ephemeralcontainers").Update(ctx, &current)
			return &current, err
		}
	}

	DescribeTable("refuses ephemeral containers",
		func(ctx SpecContext, change func(*corev1.EphemeralContainer), check string) {
			_, err := debug("debugger", change)(ctx)
			Expect(err).To(MatchError(ContainSubstring("chaperone guard: " + check)))
		},
		Entry("that target the sidecar", func(c *corev1.EphemeralContainer) { c.TargetContainerName = layout.SidecarContainer }, "sidecar-target"),
		Entry("that are privileged", func(c *corev1.EphemeralContainer) {
			c.SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
		}, "privileged"),
		Entry("with SYS_PTRACE", func(c *corev1.EphemeralContainer) {
			c.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}}}
		}, "capabilities"),
		Entry("that run as the sidecar's uid", func(c *corev1.EphemeralContainer) {
			uid, _ := inject.UID(pod)
			c.SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.To(uid)}
		}, "sidecar-uid"),
		Entry("with the policy's Secret", func(c *corev1.EphemeralContainer) {
			c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "billing-db"}}}}
		}, "policy-secret"),
	)

	It("restricts an ephemeral container that it lets in, and a second one after it", func(ctx SpecContext) {
		for _, name := range []string{"first", "second"} {
			got, err := debug(name, func(c *corev1.EphemeralContainer) {
				c.VolumeMounts = []corev1.VolumeMount{{Name: layout.IdentityVolume, MountPath: "/stolen"}}
			})(ctx)
			Expect(err).NotTo(HaveOccurred())
			last := got.Spec.EphemeralContainers[len(got.Spec.EphemeralContainers)-1]
			Expect(last.SecurityContext.Capabilities.Drop).To(ConsistOf(corev1.Capability("ALL")))
			Expect(last.VolumeMounts).NotTo(ContainElement(HaveField("Name", layout.IdentityVolume)))
		}
	})

	connect := func(ctx context.Context, subresource string, options runtime.Object) error {
		set, err := kubernetes.NewForConfig(configOf("root", "system:masters"))
		Expect(err).NotTo(HaveOccurred())
		return set.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod.Name).SubResource(subresource).
			VersionedParams(options, clientgoscheme.ParameterCodec).Do(ctx).Error()
	}

	DescribeTable("keeps people out of our containers",
		func(ctx SpecContext, subresource string, options runtime.Object, check string) {
			Expect(connect(ctx, subresource, options)).To(MatchError(ContainSubstring("chaperone guard: " + check)))
		},
		Entry("exec", "exec", &corev1.PodExecOptions{Container: layout.SidecarContainer, Command: []string{"/sidecar"}, Stdout: true}, "sidecar-exec"),
		Entry("attach", "attach", &corev1.PodAttachOptions{Container: layout.RedirectContainer, Stdout: true}, "sidecar-attach"),
		Entry("port-forward", "portforward", &corev1.PodPortForwardOptions{Ports: []int32{layout.ProxyPort}}, "sidecar-port-forward"),
	)

	It("lets exec into the agent through, as far as the API server can take it without a node", func(ctx SpecContext) {
		err := connect(ctx, "exec", &corev1.PodExecOptions{Container: "agent", Command: []string{"id"}, Stdout: true})
		Expect(err).To(HaveOccurred())
		Expect(err.Error()).NotTo(ContainSubstring("chaperone"))
	})

	It("leaves a pod alone that ran before its policy", func(ctx SpecContext) {
		early := newNamespace(ctx)
		old := plainPod(early)
		Expect(admin.Create(ctx, old)).To(Succeed())
		Expect(old.Spec.InitContainers).To(BeEmpty())
		Expect(admin.Create(ctx, policyIn(early, "billing"))).To(Succeed())
		protect(ctx, early)
		changed := old.DeepCopy()
		changed.Spec.Containers[0].Image = "registry.example/agent:2"
		Expect(admin.Patch(ctx, changed, client.MergeFrom(old))).To(Succeed())
	})
})
