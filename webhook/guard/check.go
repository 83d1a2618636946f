package guard

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

// Input is what a check looks at.
type Input struct {
	// Pod as it would be, or as it is.
	Pod *corev1.Pod
	// Old is the pod before an update, else nil.
	Old *corev1.Pod
	// Policies of the namespace, and those among them that the pod is under.
	Policies []v1alpha1.AgentPolicy
	Selected []v1alpha1.AgentPolicy
	// Key checks the seal.
	Key []byte
	// SecretType returns the type of a Secret of the pod's namespace; "" for one that does not exist (yet). Errors
	// are the operator's.
	SecretType func(name string) (corev1.SecretType, error)
	// DNS is the resolver settings of the operator's own pod, which are the cluster's. Unset: none is known.
	DNS resolver.Settings

	agents     []agent // of an update, those that it changes
	restricted inject.Restricted
}

// Check looks at one thing. reason is its name, in lower case with dashes; message says what is wrong and what to do
// about it, without naming the pod.
type Check func(in Input) (reason, message string, refused bool)

// Chain is a table of checks.
type Chain []Check

// Refusal is what a check found.
type Refusal struct {
	Pod     string // namespace/name
	Reason  string
	Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("pod %s: %s (chaperone guard: %s)", r.Pod, r.Message, r.Reason)
}

// Run returns the first refusal, or nil.
func (c Chain) Run(in Input) *Refusal {
	in.agents = changed(agents(in.Pod), in.Old)
	in.restricted = inject.Restrictions(in.Selected)
	if len(in.Selected) == 0 {
		// No policy at hand: what no policy could leave an agent is refused all the same.
		in.restricted.Capabilities = inject.AgentCapabilities
	}
	for _, check := range c {
		if reason, message, refused := check(in); refused {
			return &Refusal{Pod: inject.Called(in.Pod), Reason: reason, Message: message}
		}
	}
	return nil
}

// agent is a container that is not ours.
type agent struct {
	corev1.Container
	// what it is, for messages: container web, init container setup, ephemeral container debug.
	what string
	// ephemeral containers say whom they share processes with.
	target    string
	ephemeral bool
}

func agents(pod *corev1.Pod) []agent {
	var out []agent
	for _, c := range pod.Spec.InitContainers {
		if !layout.Ours(c.Name) {
			out = append(out, agent{Container: c, what: "init container " + c.Name})
		}
	}
	for _, c := range pod.Spec.Containers {
		out = append(out, agent{Container: c, what: "container " + c.Name})
	}
	for _, e := range pod.Spec.EphemeralContainers {
		out = append(out, agent{
			Container: corev1.Container(e.EphemeralContainerCommon), what: "ephemeral container " + e.Name,
			target: e.TargetContainerName, ephemeral: true,
		})
	}
	return out
}

// changed leaves the containers that are new or have another image than in old: what an update brings, not what was
// admitted before under the policies of that time.
func changed(all []agent, old *corev1.Pod) []agent {
	if old == nil {
		return all
	}
	images := map[string]string{}
	for _, a := range agents(old) {
		images[a.what] = a.Image
	}
	return slices.DeleteFunc(all, func(a agent) bool {
		image, there := images[a.what]
		return there && image == a.Image
	})
}

// eachAgent makes a check of one that looks at a single agent container and returns what is wrong with it, "" for
// nothing.
func eachAgent(reason string, look func(in Input, a agent) string) Check {
	return func(in Input) (string, string, bool) {
		for _, a := range in.agents {
			if wrong := look(in, a); wrong != "" {
				return reason, a.what + " " + wrong, true
			}
		}
		return reason, "", false
	}
}

// eachVolume is eachAgent for the volumes that are not ours.
func eachVolume(reason string, look func(in Input, v corev1.Volume) string) Check {
	return func(in Input) (string, string, bool) {
		for _, v := range in.Pod.Spec.Volumes {
			if layout.OurVolume(v.Name) {
				continue
			}
			if wrong := look(in, v); wrong != "" {
				return reason, "volume " + v.Name + " " + wrong, true
			}
		}
		return reason, "", false
	}
}
