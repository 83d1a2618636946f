package command

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// explanation is what there is to say of a pod.
type explanation struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Protected tells whether the pod runs behind a sidecar; Why says it in words.
	Protected bool   `json:"protected"`
	Why       string `json:"why"`
	Sidecar   string `json:"sidecarImage,omitempty"`
	// Policies apply to the pod, or would if it were created now.
	Policies []explainedPolicy `json:"policies"`
	Targets  []explainedTarget `json:"targets,omitempty"`
	Pending  []string          `json:"pendingApprovals,omitempty"`
	Refused  []found           `json:"refused,omitempty"`
	// Unknown are what could not be found out, and why.
	Unknown []string `json:"unknown,omitempty"`
}

type explainedPolicy struct {
	Name        string `json:"name"`
	Enforcement string `json:"enforcement"`
	Generation  int64  `json:"generation"`
	// Held is the generation that the pod's sidecar holds; 0 where that is not known.
	Held int64 `json:"held,omitempty"`
	// HeldFrom says how that is known.
	HeldFrom  string `json:"heldFrom,omitempty"`
	Ready     string `json:"ready"`
	Message   string `json:"message,omitempty"`
	Unmatched string `json:"unmatched"`
	Allowed   int    `json:"allowedUninspected"`
}

type explainedTarget struct {
	Name        string `json:"name"`
	Policy      string `json:"policy"`
	Protocol    string `json:"protocol"`
	Address     string `json:"address"`
	Rules       int    `json:"rules"`
	Default     string `json:"defaultAction"`
	Masking     int    `json:"masking"`
	Access      string `json:"access,omitempty"`
	Credentials string `json:"credentials,omitempty"`
}

// explain says what follows from a pod and the policies of its namespace.
func explain(pod *corev1.Pod, policies []v1alpha1.AgentPolicy, now time.Time) *explanation {
	x := &explanation{Namespace: pod.Namespace, Pod: pod.Name, Policies: []explainedPolicy{}}
	applying, err := selection.Of(policies, pod)
	if err != nil {
		x.Unknown = append(x.Unknown, fmt.Sprintf("which policies apply: %v", err))
	}
	for i := range applying {
		x.policy(&applying[i])
	}
	x.protection(pod, applying, now)
	return x
}

// protection tells whether the pod's traffic passes a sidecar.
func (x *explanation) protection(pod *corev1.Pod, applying []v1alpha1.AgentPolicy, now time.Time) {
	var sidecar *corev1.Container
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == layout.SidecarContainer {
			sidecar = &pod.Spec.InitContainers[i]
		}
	}
	if sidecar == nil || pod.Annotations[layout.SealAnnotation] == "" {
		switch {
		case len(applying) == 0:
			x.Why = "no policy of the namespace selects it, so that it has no sidecar and no credential of a policy"
		case pod.CreationTimestamp.Before(&applying[0].CreationTimestamp):
			x.Why = "it runs since before policy " + applying[0].Name + " and has no sidecar; delete it, or restart its workload (kubectl rollout restart)"
		default:
			x.Why = "it has no sidecar although policy " + applying[0].Name + " selects it (a static pod, relabelled, or admitted while the webhooks were away); delete it to have it made again"
		}
		return
	}
	x.Protected, x.Sidecar = true, sidecar.Image
	x.Why = "it was created behind a sidecar"
	for i := range pod.Status.InitContainerStatuses {
		s := &pod.Status.InitContainerStatuses[i]
		if s.Name != layout.SidecarContainer {
			continue
		}
		switch {
		case s.State.Running != nil && s.Started != nil && *s.Started:
			x.Why = fmt.Sprintf("its sidecar has run for %s", age(now, s.State.Running.StartedAt.Time))
			if s.RestartCount > 0 {
				x.Why += fmt.Sprintf(", restarted %d times", s.RestartCount)
			}
		case s.State.Running != nil:
			x.Why = "its sidecar is starting; the agent's containers wait for it"
		case s.State.Waiting != nil:
			x.Why = strings.TrimSuffix("its sidecar waits: "+s.State.Waiting.Reason+": "+s.State.Waiting.Message, ": ") + "; nothing leaves the pod meanwhile"
		case s.State.Terminated != nil:
			x.Why = "its sidecar has ended (" + s.State.Terminated.Reason + "); nothing leaves the pod without it"
		}
	}
	if len(applying) == 0 {
		x.Why += "; no policy selects it any more, so that nothing is allowed to it"
	}
}

func (x *explanation) policy(ap *v1alpha1.AgentPolicy) {
	p := explainedPolicy{
		Name: ap.Name, Enforcement: cmp.Or(string(ap.Spec.Enforcement), "Enforce"), Generation: ap.Generation, Ready: "Unknown",
		Unmatched: cmp.Or(string(ap.Spec.Egress.Unmatched), "Deny"), Allowed: len(ap.Spec.Egress.Allow),
	}
	if c := meta.FindStatusCondition(ap.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		if p.Ready = string(c.Status); c.Status != metav1.ConditionTrue {
			p.Message = c.Message
		}
	}
	x.Policies = append(x.Policies, p)
	for i := range ap.Spec.Targets {
		x.Targets = append(x.Targets, explainTarget(ap.Name, &ap.Spec.Targets[i]))
	}
}

func explainTarget(policy string, t *v1alpha1.Target) explainedTarget {
	out := explainedTarget{Name: t.Name, Policy: policy, Default: "Deny"}
	var hosts []string
	for _, h := range t.Hosts {
		hosts = append(hosts, string(h))
	}
	out.Address = strings.Join(hosts, ",")
	if t.Port != nil {
		out.Address += fmt.Sprintf(":%d", *t.Port)
	}
	switch {
	case t.Postgres != nil:
		out.Protocol, out.Rules, out.Masking = "postgres", len(t.Postgres.Rules), len(t.Postgres.Masking)
		out.Default = cmp.Or(string(t.Postgres.DefaultAction), "Deny")
		if c := t.Postgres.Credentials; c != nil {
			out.Credentials = "secret " + c.SecretRef.Name
		}
	case t.SSH != nil:
		out.Protocol, out.Rules, out.Masking = "ssh", len(t.SSH.Rules), len(t.SSH.Masking)
		out.Default = cmp.Or(string(t.SSH.DefaultAction), "Deny")
		if c := t.SSH.Credentials; c != nil && c.SecretRef != nil {
			out.Credentials = "secret " + c.SecretRef.Name
		} else if c != nil && c.CertificateAuthorityRef != nil {
			out.Credentials = "certificates by secret " + c.CertificateAuthorityRef.Name
		}
	case t.Kubernetes != nil:
		out.Protocol, out.Rules, out.Masking = "kubernetes", len(t.Kubernetes.Rules), len(t.Kubernetes.Masking)
		out.Default, out.Credentials = cmp.Or(string(t.Kubernetes.DefaultAction), "Deny"), "the pod's service account"
		if c := t.Kubernetes.Credentials; c != nil {
			out.Credentials = "secret " + c.SecretRef.Name
		}
		out.Address = cmp.Or(out.Address, "the pod's own API server")
	}
	if a := t.Access; a != nil && a.Approval != nil {
		out.Access = "each session waits for people"
	}
	return out
}
