package snapshot

import (
	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (c *converter) ssh(at Path, in *v1alpha1.SSHTarget) *policy.SSH {
	out := &policy.SSH{
		User:          in.User,
		Users:         in.Users,
		KnownHosts:    c.knownHosts(at.Child("knownHosts"), &in.KnownHosts),
		Interpret:     in.Shell == v1alpha1.ShellInterpret,
		DefaultAction: action(in.DefaultAction, policy.Deny),
		Masking:       c.streams(at.Child("masking"), in.Masking),
	}
	if cred := in.Credentials; cred != nil {
		out.HasCredentials = true
		switch {
		case cred.SecretRef != nil:
			out.CredentialsID = c.namespace + "/" + cred.SecretRef.Name
		case cred.CertificateAuthorityRef != nil:
			out.Certified = true
			out.CredentialsID = "authority " + c.namespace + "/" + cred.CertificateAuthorityRef.Name
		}
	}
	for i, r := range in.Rules {
		out.Rules = append(out.Rules, policy.Rule{
			Name: r.Name,
			Match: policy.Match{
				Programs:    r.Match.Programs,
				Arguments:   r.Match.Arguments,
				Subsystems:  r.Match.Subsystems,
				Paths:       r.Match.Paths,
				Operations:  r.Match.Operations,
				Forwarding:  r.Match.Forwarding,
				Addresses:   r.Match.Addresses,
				Users:       r.Match.Users,
				PTY:         r.Match.PTY,
				Interactive: r.Match.Interactive,
				Unresolved:  r.Match.Unresolved,
			},
			When:     r.When,
			Action:   policy.Action(r.Action),
			Message:  r.Message,
			Approval: c.ruleApproval(at.Child("rules").Index(i), r.Action, r.Approval),
		})
	}
	return out
}
