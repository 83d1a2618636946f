package guard_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/webhook/guard"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

var key = []byte("a key that only the operator has")

func policies() []v1alpha1.AgentPolicy {
	p := v1alpha1.AgentPolicy{}
	p.Namespace, p.Name = "agents", "billing"
	p.Spec.Targets = []v1alpha1.Target{
		{Postgres: &v1alpha1.PostgresTarget{Credentials: &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "db"}}}},
		{SSH: &v1alpha1.SSHTarget{Credentials: &v1alpha1.SSHCredentials{CertificateAuthorityRef: &v1alpha1.SecretRef{Name: "ssh-ca"}}}},
		{Kubernetes: &v1alpha1.KubernetesTarget{Credentials: &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "kubeconfig"}}}},
	}
	return []v1alpha1.AgentPolicy{p}
}

func injected(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = "agents", "worker"
	pod.Labels = map[string]string{"app": "worker"}
	pod.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "registry.example/setup:1"}}
	pod.Spec.Containers = []corev1.Container{{Name: "agent", Image: "registry.example/agent:1"}}
	out, err := inject.Inject(pod, policies(), inject.Options{
		Image: "registry.example/sidecar:1", Broker: "broker:443", RootPEM: []byte("root"), Key: key, Now: time.Unix(1_800_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func input(pod *corev1.Pod) guard.Input {
	return guard.Input{
		Pod: pod, Policies: policies(), Selected: policies(), Key: key,
		DNS: resolver.Settings{
			Nameservers: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
			Search:      []string{"chaperone-system.svc.cluster.local", "svc.cluster.local", "cluster.local"},
		},
		SecretType: func(name string) (corev1.SecretType, error) {
			switch name {
			case "robot-token":
				return corev1.SecretTypeServiceAccountToken, nil
			case "unreadable":
				return "", errors.New("the API server is away")
			}
			return "", nil
		},
	}
}

func agentOf(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[0] }

func addVolume(source corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "v", VolumeSource: source})
	}
}

// asking has the pod ask the nameservers, with the search list.
func asking(nameservers []string, searches ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.DNSConfig = &corev1.PodDNSConfig{
			Nameservers: nameservers, Searches: searches, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr.To("2")}},
		}
	}
}

func local(name string) *corev1.LocalObjectReference {
	return &corev1.LocalObjectReference{Name: name}
}

func TestCreated(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   string // the check that refuses, "" for none
	}{
		"as it was injected":                {func(*corev1.Pod) {}, ""},
		"hostNetwork":                       {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "host-namespaces"},
		"a shared process namespace":        {func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = ptr.To(true) }, "shared-processes"},
		"a privileged init container":       {func(p *corev1.Pod) { p.Spec.InitContainers[2].SecurityContext.Privileged = ptr.To(true) }, "privileged"},
		"no security context at all":        {func(p *corev1.Pod) { agentOf(p).SecurityContext = nil }, "capabilities"},
		"capabilities that are not dropped": {func(p *corev1.Pod) { agentOf(p).SecurityContext.Capabilities.Drop = nil }, "capabilities"},
		"a capability that the policy does not leave": {func(p *corev1.Pod) {
			agentOf(p).SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_CHROOT"}
		}, "capabilities"},
		"a capability written with CAP_": {func(p *corev1.Pod) {
			agentOf(p).SecurityContext.Capabilities.Add = []corev1.Capability{"CAP_CHOWN"}
		}, "capabilities"},
		"privilege escalation":        {func(p *corev1.Pod) { agentOf(p).SecurityContext.AllowPrivilegeEscalation = nil }, "privilege-escalation"},
		"no seccomp profile":          {func(p *corev1.Pod) { agentOf(p).SecurityContext.SeccompProfile = nil }, "seccomp"},
		"an unmasked /proc":           {func(p *corev1.Pod) { agentOf(p).SecurityContext.ProcMount = ptr.To(corev1.UnmaskedProcMount) }, "proc-mount"},
		"a default /proc":             {func(p *corev1.Pod) { agentOf(p).SecurityContext.ProcMount = ptr.To(corev1.DefaultProcMount) }, ""},
		"our name on a container":     {func(p *corev1.Pod) { agentOf(p).Name = layout.SidecarContainer }, "reserved-name"},
		"our uid on a container":      {func(p *corev1.Pod) { agentOf(p).SecurityContext.RunAsUser = uidOf(p) }, "sidecar-uid"},
		"our uid on the pod":          {func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: uidOf(p)} }, "sidecar-uid"},
		"the state mounted":           {mounted(layout.StateVolume, true), "sidecar-volume"},
		"the identity mounted":        {mounted(layout.IdentityVolume, true), "sidecar-volume"},
		"the trust mounted writable":  {mounted(layout.TrustVolume, false), "sidecar-volume"},
		"the trust mounted once more": {mounted(layout.TrustVolume, true), ""},
		"a variable from a file of the state": {func(p *corev1.Pod) {
			agentOf(p).Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: layout.StateVolume}}}}
		}, "sidecar-volume"},
		"the cluster's own DNS, spelt out": {asking([]string{"10.96.0.10"}, "agents.svc.cluster.local", "svc.cluster.local", "cluster.local."), ""},
		"a resolver of the node":           {asking([]string{"169.254.20.10"}), ""},
		"options of the resolver":          {asking(nil), ""},
		"a nameserver of the author's":     {asking([]string{"10.96.0.10", "192.0.2.53"}), "nameserver"},
		"a search list of the author's":    {asking(nil, "evil.example"), "nameserver"},
		"another namespace in it":          {asking(nil, "other.svc.cluster.local"), "nameserver"},
		"its own namespace of elsewhere":   {asking(nil, "agents.svc.evil.example"), "nameserver"},
		"hostPath":                         {addVolume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}), "host-path"},
		"iscsi":                            {addVolume(corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}}), "node-network"},
		"a claim":                          {addVolume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}), ""},
		"inline CSI":                       {addVolume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}), "inline-csi"},
		"a pod certificate":                {projected(corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{}}), "token-projection"},
		"a service account token":          {projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}), "token-projection"},
		"a config map":                     {projected(corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{}}), ""},
		"automount":                        {func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }, "automount"},
		"a token Secret":                   {addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "robot-token"}}), "token-secret"},
		"a Secret of unknown type":         {addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "unreadable"}}), "token-secret"},
		"another Secret":                   {addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "own"}}), ""},
		"the database password":            {addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}), "policy-secret"},
		"the SSH authority, projected":     {projected(corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: *local("ssh-ca")}}), "policy-secret"},
		"the kubeconfig as a variable": {func(p *corev1.Pod) {
			agentOf(p).Env = []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: *local("kubeconfig")}}}}
		}, "policy-secret"},
		"the password for a storage driver": {addVolume(corev1.VolumeSource{Cinder: &corev1.CinderVolumeSource{SecretRef: local("db")}}), "policy-secret"},
		"nothing of ours in it":             {func(p *corev1.Pod) { p.Annotations = nil }, "injection"},
		"the sidecar taken out": {func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers[:1:1], p.Spec.InitContainers[2:]...)
		}, "injection"},
		"another container first": {func(p *corev1.Pod) {
			p.Spec.InitContainers[0], p.Spec.InitContainers[2] = p.Spec.InitContainers[2], p.Spec.InitContainers[0]
		}, "injection"},
		"our image changed":      {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "evil" }, "seal"},
		"our probe taken out":    {func(p *corev1.Pod) { p.Spec.InitContainers[1].StartupProbe = nil }, "seal"},
		"our volume on the disk": {func(p *corev1.Pod) { p.Spec.Volumes[0].EmptyDir.Medium = "" }, "seal"},
		"our limits filled in": {func(p *corev1.Pod) {
			p.Spec.InitContainers[1].Resources.Limits[corev1.ResourceEphemeralStorage] = resource.MustParse("1Gi")
			p.Spec.InitContainers[1].ImagePullPolicy = corev1.PullAlways
		}, ""},
		"bound to other labels": {func(p *corev1.Pod) { p.Annotations[layout.BoundLabelsAnnotation] = `{"app":"x"}` }, "seal"},
		"labels changed since":  {func(p *corev1.Pod) { p.Labels["app"] = "x" }, "bound-labels"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pod := injected(t)
			c.change(pod)
			expect(t, guard.Created().Run(input(pod)), c.want)
		})
	}
}

func uidOf(p *corev1.Pod) *int64 {
	uid, _ := inject.UID(p)
	return &uid
}

func mounted(volume string, readOnly bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		agentOf(p).VolumeMounts = append(agentOf(p).VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/x", ReadOnly: readOnly})
	}
}

func projected(source corev1.VolumeProjection) func(*corev1.Pod) {
	return addVolume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}}})
}

func expect(t *testing.T, got *guard.Refusal, want string) {
	t.Helper()
	switch {
	case got == nil && want != "":
		t.Errorf("let through, want %s", want)
	case got != nil && got.Reason != want:
		t.Errorf("refused by %q, want %q: %v", got.Reason, want, got)
	case got != nil && (!strings.HasPrefix(got.Error(), "pod agents/worker: ") || !strings.ContainsAny(got.Message, ";:")):
		t.Errorf("the refusal does not name the pod and the way out: %v", got)
	}
}

func TestLiveJudgesByWhatNoPolicyCouldPermit(t *testing.T) {
	live := func(change func(*corev1.Pod)) *guard.Refusal {
		pod := injected(t)
		change(pod)
		in := input(pod)
		in.Policies, in.Selected = nil, nil
		return guard.Live().Run(in)
	}
	expect(t, live(func(p *corev1.Pod) { p.Labels = map[string]string{"relabelled": "since"} }), "")
	expect(t, live(func(p *corev1.Pod) {
		agentOf(p).SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_CHROOT"}
	}), "")
	expect(t, live(func(p *corev1.Pod) {
		agentOf(p).SecurityContext.Capabilities.Add = []corev1.Capability{"SETUID"}
	}), "capabilities")
	expect(t, live(func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", SecurityContext: agentOf(p).SecurityContext},
			TargetContainerName:      layout.SidecarContainer,
		}}
	}), "sidecar-target")
}

func TestUpdatesAreJudgedByWhatTheyChange(t *testing.T) {
	pinned := policies()
	pinned[0].Spec.Containers = &v1alpha1.ContainerRestrictions{RequirePinnedImages: true}
	update := func(change func(*corev1.Pod)) *guard.Refusal {
		in := input(injected(t))
		in.Old = in.Pod.DeepCopy()
		in.Selected = pinned
		change(in.Pod)
		return guard.Updated().Run(in)
	}
	expect(t, update(func(p *corev1.Pod) { p.Labels["x"] = "y" }), "") // its own image is older than the policy's wish
	expect(t, update(func(p *corev1.Pod) { agentOf(p).Image = "registry.example/agent:2" }), "pinned-images")
	expect(t, update(func(p *corev1.Pod) {
		agentOf(p).Image = "registry.example/agent@sha256:" + strings.Repeat("0", 64)
	}), "")
	expect(t, update(func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" }), "sidecar-image")
	expect(t, update(func(p *corev1.Pod) {
		p.Spec.InitContainers[1].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("1Mi")
	}), "sidecar-changed")
	expect(t, update(func(p *corev1.Pod) { delete(p.Annotations, layout.SealAnnotation) }), "marks")
}

func TestUnselectedPodsMayNotLookInjected(t *testing.T) {
	forged := injected(t)
	in := input(forged)
	in.Selected = nil
	expect(t, guard.Unselected().Run(in), "marks")
	forged.Annotations, forged.Labels = nil, nil
	expect(t, guard.Unselected().Run(in), "broker-token")
	forged.Spec.Volumes = nil
	expect(t, guard.Unselected().Run(in), "")
}
