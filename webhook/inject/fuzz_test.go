package inject_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

// choices turns fuzzed bytes into decisions.
type choices struct{ bytes []byte }

func (c *choices) below(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

func (c *choices) yes() bool { return c.below(2) == 1 }

func pick[T any](c *choices, from ...T) T { return from[c.below(len(from))] }

func (c *choices) pod() *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace = pick(c, "agents", "other")
	pod.GenerateName = "worker-"
	if c.yes() {
		pod.Labels = map[string]string{"app": pick(c, "a", "b"), layout.InjectedLabel: "forged"}
	}
	if c.yes() {
		pod.Annotations = map[string]string{
			pick(c, layout.InjectedAnnotation, layout.SealAnnotation, layout.BoundLabelsAnnotation, "x"): pick(c, "v1", "v1.1800000000.ff", "{}", "{"),
		}
	}
	if c.yes() {
		pod.Spec.HostUsers = ptr.To(c.yes())
	}
	for range c.below(4) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: pick(c, "data", "kube-api-access-abcde", layout.TrustVolume, layout.StateVolume),
			VolumeSource: pick(c,
				corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
				corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}},
			),
		})
	}
	for range c.below(4) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c.container())
	}
	for range 1 + c.below(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, c.container())
	}
	return pod
}

func (c *choices) container() corev1.Container {
	out := corev1.Container{Name: pick(c, "agent", "setup", "tail", layout.SidecarContainer, layout.RedirectContainer), Image: "x"}
	if c.yes() {
		out.Env = []corev1.EnvVar{{Name: pick(c, "PGSSLROOTCERT", "PGHOST"), Value: pick(c, "/own.pem", layout.TrustPath+"/ca.crt")}}
	}
	for range c.below(3) {
		out.VolumeMounts = append(out.VolumeMounts, corev1.VolumeMount{
			Name:      pick(c, "data", "kube-api-access-abcde", layout.TrustVolume, layout.IdentityVolume),
			MountPath: pick(c, "/data", "/etc/ssh", layout.ServiceAccountPath, "/etc/ssl/a.pem", layout.TrustPath),
		})
	}
	if c.yes() {
		out.SecurityContext = &corev1.SecurityContext{
			RunAsUser:    pick(c, nil, ptr.To[int64](inject.FirstUID), ptr.To[int64](inject.FirstUserUID)),
			Privileged:   pick(c, nil, ptr.To(true), ptr.To(false)),
			Capabilities: pick(c, nil, &corev1.Capabilities{Add: []corev1.Capability{"cap_sys_admin"}}, &corev1.Capabilities{Drop: []corev1.Capability{"all"}, Add: []corev1.Capability{"KILL", "ALL"}}),
		}
	}
	return out
}

// FuzzInject holds that injection converges: its own result is left as it is, and every container but ours is
// restricted.
func FuzzInject(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 1, 1, 0, 0, 1, 1, 3, 2, 1, 2, 0, 3, 3, 1, 0, 2, 1, 3, 4, 0, 2, 1, 1, 1, 2})
	f.Fuzz(func(t *testing.T, input []byte) {
		pod := (&choices{input}).pod()
		policies := all()
		policies[0].Spec.Trust = nil
		o := drawing(0)
		first, err := inject.Inject(pod, policies, o)
		var refusal *inject.Refusal
		if errors.As(err, &refusal) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		second, err := inject.Inject(first, policies, o)
		if err != nil {
			t.Fatalf("its own result: %v", err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("does not converge:\n%s", diff)
		}
		names := map[string]int{}
		for i, c := range append(append([]corev1.Container{}, first.Spec.InitContainers...), first.Spec.Containers...) {
			names[c.Name]++
			if layout.Ours(c.Name) {
				if i > 1 || names[c.Name] > 1 {
					t.Fatalf("container %s stands at %d", c.Name, i)
				}
				continue
			}
			if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil || len(c.SecurityContext.Capabilities.Drop) != 1 {
				t.Fatalf("container %s is not restricted", c.Name)
			}
			for _, m := range c.VolumeMounts {
				if layout.OurVolume(m.Name) && !m.ReadOnly {
					t.Fatalf("container %s may write volume %s", c.Name, m.Name)
				}
			}
		}
	})
}
