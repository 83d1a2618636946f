package snapshot

import (
	"regexp"
	"time"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func (c *converter) postgres(at Path, in *v1alpha1.PostgresTarget) *policy.Postgres {
	out := &policy.Postgres{
		TLSMode:       policy.TLSMode(or(in.TLS.Mode, string(policy.TLSVerifyFull))),
		AgentPassword: in.AgentPassword,
		DefaultAction: action(in.DefaultAction, policy.Deny),
		Unrecognised:  action(in.Unrecognised, policy.Deny),
	}
	if in.TLS.CAFrom != nil {
		out.CAPEM = c.roots(at.Child("tls").Child("caFrom"), in.TLS.CAFrom)
	}
	if in.Credentials != nil {
		out.HasCredentials = true
		out.CredentialsID = c.namespace + "/" + in.Credentials.SecretRef.Name
	}
	if in.Inference != v1alpha1.ActionAllow {
		out.Inference = policy.Action(in.Inference)
	}
	for i := range in.Rules {
		out.Rules = append(out.Rules, c.postgresRule(at.Child("rules").Index(i), &in.Rules[i]))
	}
	for i, m := range in.Masking {
		c.pattern(at.Child("masking").Index(i).Child("pattern"), m.Pattern)
		out.Masking = append(out.Masking, policy.Masking{
			Columns:   m.Columns,
			Detectors: detectors(m.Detectors),
			Pattern:   m.Pattern,
			Method:    policy.Method(or(m.Method, string(policy.MaskRedact))),
		})
	}
	if r := in.Refusals; r != nil {
		out.Refusals = policy.Refusals{Functions: r.Functions, Tables: r.Tables}
		for _, group := range r.Exempt {
			out.Refusals.Exempt = append(out.Refusals.Exempt, policy.RefusalGroup(group))
		}
	}
	if in.Limits != nil {
		out.Limits = c.limits(at.Child("limits"), in.Limits)
	}
	return out
}

func (c *converter) postgresRule(at Path, r *v1alpha1.PostgresRule) policy.Rule {
	return policy.Rule{
		Name: r.Name,
		Match: policy.Match{
			Commands:   r.Match.Commands,
			Tables:     r.Match.Tables,
			Columns:    r.Match.Columns,
			Functions:  r.Match.Functions,
			Unfiltered: r.Match.Unfiltered,
		},
		When:     r.When,
		Action:   policy.Action(r.Action),
		Message:  r.Message,
		Approval: c.ruleApproval(at, r.Action, r.Approval),
	}
}

func (c *converter) limits(at Path, in *v1alpha1.PostgresLimits) policy.Limits {
	var out policy.Limits
	if in.Rows != nil {
		if *in.Rows < 1 {
			c.failf(at.Child("rows"), "must be at least 1, found %d", *in.Rows)
		}
		out.Rows = *in.Rows
	}
	if in.Bytes != nil {
		if in.Bytes.Sign() <= 0 {
			c.failf(at.Child("bytes"), "must be more than 0, found %s", in.Bytes.String())
		}
		out.Bytes = in.Bytes.Value()
	}
	if in.StatementTimeout != nil {
		if in.StatementTimeout.Duration < time.Millisecond {
			c.failf(at.Child("statementTimeout"), "must be at least 1ms, found %s", in.StatementTimeout.Duration)
		}
		out.StatementTimeoutMS = in.StatementTimeout.Milliseconds()
	}
	return out
}

func (c *converter) pattern(at Path, p string) {
	if _, err := regexp.Compile(p); err != nil {
		c.failf(at, "%w", err)
	}
}
