package snapshot

import (
	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (c *converter) kubernetes(at Path, in *v1alpha1.KubernetesTarget) *policy.Kubernetes {
	out := &policy.Kubernetes{
		DefaultAction: action(in.DefaultAction, policy.Deny),
		Masking:       c.streams(at.Child("masking"), in.Masking),
	}
	if in.Credentials != nil {
		out.HasCredentials = true
		out.CredentialsID = c.namespace + "/" + in.Credentials.SecretRef.Name
	}
	for i, r := range in.Rules {
		out.Rules = append(out.Rules, policy.Rule{
			Name: r.Name,
			Match: policy.Match{
				Verbs:       r.Match.Verbs,
				APIGroups:   r.Match.APIGroups,
				Resources:   r.Match.Resources,
				Namespaces:  r.Match.Namespaces,
				Names:       r.Match.Names,
				Containers:  r.Match.Containers,
				Programs:    r.Match.Programs,
				Arguments:   r.Match.Arguments,
				Unresolved:  r.Match.Unresolved,
				TTY:         r.Match.TTY,
				Interactive: r.Match.Interactive,
				Ports:       c.ports(at.Child("rules").Index(i).Child("match").Child("ports"), r.Match.Ports),
			},
			When:     r.When,
			Action:   policy.Action(r.Action),
			Message:  r.Message,
			Approval: c.ruleApproval(at.Child("rules").Index(i), r.Action, r.Approval),
		})
	}
	return out
}

func (c *converter) ports(at Path, in []v1alpha1.Port) []uint16 {
	var out []uint16
	for i, p := range in {
		out = append(out, c.port(at.Index(i), p))
	}
	return out
}
