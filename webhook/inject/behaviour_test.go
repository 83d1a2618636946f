package inject_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/seal"
)

func all() []v1alpha1.AgentPolicy {
	p := v1alpha1.AgentPolicy{}
	p.Namespace, p.Name = "agents", "all"
	return []v1alpha1.AgentPolicy{p}
}

func agent() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = "agents", "worker"
	pod.Labels = map[string]string{"app": "worker"}
	pod.Spec.Containers = []corev1.Container{{Name: "agent", Image: "registry.example/agent:1"}}
	return pod
}

func injected(t *testing.T, pod *corev1.Pod, o inject.Options) *corev1.Pod {
	t.Helper()
	out, err := inject.Inject(pod, all(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Verify(out, o.Key); err != nil {
		t.Fatalf("the pod has no valid seal: %v", err)
	}
	return out
}

func uid(t *testing.T, pod *corev1.Pod) int64 {
	t.Helper()
	got, ok := inject.UID(pod)
	if !ok {
		t.Fatal("the pod has no sidecar with a uid")
	}
	return got
}

// drawing returns options whose uids count up from n.
func drawing(n int64) inject.Options {
	o := options()
	o.UID = func(int64) (int64, error) { n++; return n - 1, nil }
	return o
}

func TestReinvocation(t *testing.T) {
	cases := map[string]struct {
		change  func(*corev1.Pod)
		later   time.Duration
		sameUID bool
	}{
		"nothing happened in between, so nothing changes": {
			change: func(*corev1.Pod) {}, later: time.Second, sameUID: true,
		},
		"another webhook put its init container first": {
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers = append([]corev1.Container{{Name: "istio-proxy", Image: "istio"}}, p.Spec.InitContainers...)
			},
			sameUID: true,
		},
		"another webhook gave our container a variable": {
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers[1].Env = append(p.Spec.InitContainers[1].Env, corev1.EnvVar{Name: "SSL_CERT_FILE", Value: "/x"})
			},
			sameUID: false, // the seal no longer holds, so it could be anybody's
		},
		"the API server's own plugins wrote what the seal leaves open": {
			change: func(p *corev1.Pod) {
				for i := range p.Spec.InitContainers {
					p.Spec.InitContainers[i].ImagePullPolicy = corev1.PullAlways
					p.Spec.InitContainers[i].Resources.Limits[corev1.ResourceEphemeralStorage] = resource.MustParse("1Gi")
				}
			},
			later: time.Second, sameUID: true,
		},
		"another webhook added a container that runs as our uid": {
			change: func(p *corev1.Pod) {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
					Name: "x", Image: "x", SecurityContext: &corev1.SecurityContext{RunAsUser: ptr.To[int64](inject.FirstUID + 7)},
				})
			},
			sameUID: false,
		},
		"the pod is a copy made later, with the seal of the first": {
			change: func(*corev1.Pod) {}, later: inject.SealWindow + time.Second, sameUID: false,
		},
		"the pod was copied to another namespace": {
			change: func(p *corev1.Pod) { p.Namespace = "other" }, sameUID: false,
		},
		"the pod runs as another service account": {
			change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "other" }, sameUID: false,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			first := injected(t, agent(), drawing(7))
			seen := first.DeepCopy()
			c.change(seen)
			o := drawing(100)
			o.Now = now.Add(c.later)
			second := injected(t, seen, o)
			if same := uid(t, first) == uid(t, second); same != c.sameUID {
				t.Errorf("uid kept: %v, want %v", same, c.sameUID)
			}
			if got := []string{second.Spec.InitContainers[0].Name, second.Spec.InitContainers[1].Name}; !cmp.Equal(got, []string{layout.RedirectContainer, layout.SidecarContainer}) {
				t.Errorf("the first init containers are %v", got)
			}
			if c.later > 0 && c.sameUID {
				if diff := cmp.Diff(seen, second); diff != "" {
					t.Errorf("changed without need:\n%s", diff)
				}
			}
			for _, container := range append(second.Spec.InitContainers[2:], second.Spec.Containers...) {
				if container.SecurityContext == nil || ptr.Deref(container.SecurityContext.AllowPrivilegeEscalation, true) {
					t.Errorf("container %s is not restricted", container.Name)
				}
			}
		})
	}
}

func TestForgery(t *testing.T) {
	forged := injected(t, agent(), drawing(7))
	forged.Spec.InitContainers[1].Image = "registry.example/evil:1"
	forged.Annotations[layout.BoundLabelsAnnotation] = `{"app":"somebody-else"}`
	got := injected(t, forged, drawing(100))
	if image := got.Spec.InitContainers[1].Image; image != options().Image {
		t.Errorf("the sidecar runs image %s", image)
	}
	if bound := got.Annotations[layout.BoundLabelsAnnotation]; bound != `{"app":"worker"}` {
		t.Errorf("bound to %s", bound)
	}
	if uid(t, got) == uid(t, forged) {
		t.Error("the forger chose the sidecar's uid")
	}

	t.Run("a pod that no policy selects loses what makes it look injected", func(t *testing.T) {
		got, err := inject.Inject(forged, nil, options())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Spec.InitContainers) != 0 || len(got.Spec.Volumes) != 0 || len(got.Annotations) != 0 {
			t.Errorf("left over: %+v", got)
		}
		if env := got.Spec.Containers[0].Env; len(env) != 0 {
			t.Errorf("left over: %+v", env)
		}
	})
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Pod)
		says   string
	}{
		"a Windows pod": {
			func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "Windows",
		},
		"a container with the sidecar's name": {
			func(p *corev1.Pod) { p.Spec.Containers[0].Name = layout.SidecarContainer }, "reserved",
		},
		"an init container with the redirect's name": {
			func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: layout.RedirectContainer, Image: "x"}}
			}, "reserved",
		},
		"a volume with one of our names": {
			func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: layout.TrustVolume}} }, "reserved",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pod := agent()
			c.change(pod)
			_, err := inject.Inject(pod, all(), options())
			var refusal *inject.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFailsClosedWithoutWhatItNeeds(t *testing.T) {
	for name, change := range map[string]func(*inject.Options){
		"no image":    func(o *inject.Options) { o.Image = "" },
		"no broker":   func(o *inject.Options) { o.Broker = "" },
		"no root yet": func(o *inject.Options) { o.RootPEM = nil },
		"no key yet":  func(o *inject.Options) { o.Key = nil },
		"no random": func(o *inject.Options) {
			o.UID = func(int64) (int64, error) { return 0, errors.New("entropy") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			change(&o)
			if _, err := inject.Inject(agent(), all(), o); err == nil {
				t.Error("the pod was let through")
			}
		})
	}
}

func TestUIDCollidesWithNone(t *testing.T) {
	pod := agent()
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](inject.FirstUID)}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.To[int64](inject.FirstUID + 1)}
	if got := uid(t, injected(t, pod, drawing(0))); got != inject.FirstUID+2 {
		t.Errorf("uid %d", got)
	}
	pod.Spec.HostUsers = ptr.To(false)
	if got := uid(t, injected(t, pod, drawing(0))); got != inject.FirstUserUID {
		t.Errorf("uid %d in a user namespace of its own", got)
	}
}

func TestWhatIsAskedForAndForbiddenIsLeftForTheGuard(t *testing.T) {
	pod := agent()
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		Privileged:   ptr.To(true),
		Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CAP_NET_ADMIN"}},
	}
	sc := injected(t, pod, options()).Spec.Containers[0].SecurityContext
	if !*sc.Privileged || sc.AllowPrivilegeEscalation != nil || !slices.Contains(sc.Capabilities.Add, "NET_ADMIN") {
		t.Errorf("taken away in silence: %+v", sc)
	}
}

func TestEphemeral(t *testing.T) {
	old := injected(t, agent(), options())
	old.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "first", Image: "x"}}}
	pod := old.DeepCopy()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "second", Image: "x"},
	})
	got := inject.Ephemeral(pod, old, all())
	if diff := cmp.Diff(old.Spec.EphemeralContainers[0], got.Spec.EphemeralContainers[0]); diff != "" {
		t.Errorf("a container that runs was changed:\n%s", diff)
	}
	second := got.Spec.EphemeralContainers[1]
	if second.SecurityContext == nil || len(second.Env) != 1 || len(second.VolumeMounts) != 1 {
		t.Errorf("not restricted: %+v", second)
	}
	for _, m := range second.VolumeMounts {
		if m.SubPath != "" {
			t.Errorf("mount %s has a subPath, which the API refuses", m.MountPath)
		}
	}
	if diff := cmp.Diff(got, inject.Ephemeral(got, old, all())); diff != "" {
		t.Errorf("restricted twice:\n%s", diff)
	}
}
