// Package snapshot turns an AgentPolicy into the policy that sidecars decide by: defaults filled in, durations and
// quantities as numbers, references replaced by what they point to. It is pure; references are read through the
// Resolver that the caller brings, or not at all.
package snapshot

import (
	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	_ "github.com/chaperone-dev/chaperone/sidecar/policy/cel" // so that a mistake in a rule's when is found here
)

// Resolver reads the public material that a policy refers to (roots, known hosts). Its errors go into the policy's
// status and to refused agents, so they name the object and what is wrong with it.
type Resolver interface {
	// ConfigMapKey returns one key of a ConfigMap, from data or binaryData.
	ConfigMapKey(namespace, name, key string) ([]byte, error)
	// SecretKey returns one key of a Secret.
	SecretKey(namespace, name, key string) ([]byte, error)
}

// Policy converts and checks one AgentPolicy. A nil refs leaves what references point to empty, which is enough to
// judge commands by and to check all else that an author can get wrong.
//
// The error is an Errors: everything that is wrong, each with its field.
func Policy(ap *v1alpha1.AgentPolicy, refs Resolver) (policy.Policy, error) {
	c := &converter{namespace: ap.Namespace, refs: refs}
	out := policy.Policy{
		Namespace:   ap.Namespace,
		Name:        ap.Name,
		UID:         string(ap.UID),
		Generation:  ap.Generation,
		Enforcement: policy.Enforcement(or(string(ap.Spec.Enforcement), string(policy.Enforce))),
		Egress:      c.egress(root.Child("egress"), ap.Spec.Egress),
		Recording:   c.recording(root.Child("recording"), ap.Spec.Recording),
	}
	for i := range ap.Spec.Targets {
		c.current = ap.Spec.Targets[i].Name
		out.Targets = append(out.Targets, c.target(root.Child("targets").Index(i), &ap.Spec.Targets[i]))
	}
	if err := c.err(); err != nil {
		return policy.Policy{}, err
	}
	return out, c.compiles(out)
}

func (c *converter) egress(at Path, e v1alpha1.Egress) policy.Egress {
	out := policy.Egress{Unmatched: action(e.Unmatched, policy.Deny)}
	for i, allow := range e.Allow {
		pass := policy.Passthrough{Hosts: hosts(allow.Hosts)}
		for j, p := range allow.Ports {
			pass.Ports = append(pass.Ports, c.port(at.Child("allow").Index(i).Child("ports").Index(j), p))
		}
		out.Allow = append(out.Allow, pass)
	}
	return out
}

func (c *converter) recording(at Path, r v1alpha1.Recording) policy.Recording {
	if r.Retention != nil && r.Retention.Duration <= 0 {
		c.failf(at.Child("retention"), "must be longer than 0, found %s", r.Retention.Duration)
	}
	return policy.Recording{
		Durability: policy.Durability(or(r.Durability, string(policy.Spool))),
		OnFailure:  policy.OnFailure(or(r.OnFailure, string(policy.Block))),
	}
}

func (c *converter) port(at Path, p v1alpha1.Port) uint16 {
	if p < 1 || p > 65535 {
		c.failf(at, "%d is not a port", p)
		return 0
	}
	return uint16(p)
}

func hosts(in []v1alpha1.Host) []string {
	out := make([]string, 0, len(in))
	for _, h := range in {
		out = append(out, string(h))
	}
	return out
}

func action(a v1alpha1.Action, unset policy.Action) policy.Action {
	return policy.Action(or(string(a), string(unset)))
}

func or(value, unset string) string {
	if value == "" {
		return unset
	}
	return value
}
