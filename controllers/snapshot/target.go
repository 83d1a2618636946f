package snapshot

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Defaults of an approval that says nothing, as the API server's defaulting has them.
const (
	defaultTimeout = 15 * time.Minute
	// maxTimeout keeps a forgotten request from standing for ever.
	maxTimeout = 7 * 24 * time.Hour
)

func (c *converter) target(at Path, t *v1alpha1.Target) policy.Target {
	out := policy.Target{Name: t.Name, Hosts: hosts(t.Hosts)}
	if t.Port != nil {
		out.Port = c.port(at.Child("port"), *t.Port)
	}
	if t.Access != nil {
		out.Access = c.access(at.Child("access"), t.Access)
	}
	if t.Postgres != nil {
		out.Postgres = c.postgres(at.Child("postgres"), t.Postgres)
	}
	if t.SSH != nil {
		out.SSH = c.ssh(at.Child("ssh"), t.SSH)
	}
	if t.Kubernetes != nil {
		out.Kubernetes = c.kubernetes(at.Child("kubernetes"), t.Kubernetes)
	}
	return out
}

func (c *converter) access(at Path, a *v1alpha1.Access) *policy.Access {
	out := &policy.Access{}
	if a.Approval != nil {
		out.Approval = c.approval(at.Child("approval"), a.Approval)
	}
	if a.MaxDuration != nil {
		out.MaxDurationSeconds = c.seconds(at.Child("maxDuration"), a.MaxDuration, time.Second)
	}
	return out
}

// approval fills in the defaults; a nil a is all defaults.
func (c *converter) approval(at Path, a *v1alpha1.Approval) *policy.Approval {
	if a == nil {
		a = &v1alpha1.Approval{}
	}
	out := &policy.Approval{
		Required:       max(a.Required, 1),
		Groups:         a.Groups,
		TimeoutSeconds: int64(defaultTimeout / time.Second),
		InTransaction:  or(a.InTransaction, "Refuse"),
		Scope:          or(a.Scope, "Pod"),
	}
	if a.Timeout != nil {
		out.TimeoutSeconds = c.seconds(at.Child("timeout"), a.Timeout, time.Second)
		if a.Timeout.Duration > maxTimeout {
			c.failf(at.Child("timeout"), "must be at most %s, found %s", maxTimeout, a.Timeout.Duration)
		}
	}
	out.WaitSeconds = out.TimeoutSeconds
	if a.Wait != nil {
		out.WaitSeconds = c.seconds(at.Child("wait"), a.Wait, 0)
		if out.WaitSeconds > out.TimeoutSeconds {
			c.failf(at.Child("wait"), "%s is longer than the request stands (timeout %ds)", a.Wait.Duration, out.TimeoutSeconds)
		}
	}
	return out
}

// seconds rounds up, so that half a second is not none.
func (c *converter) seconds(at Path, d *metav1.Duration, least time.Duration) int64 {
	if d.Duration < least {
		c.failf(at, "must be at least %s, found %s", least, d.Duration)
		return 0
	}
	return int64((d.Duration + time.Second - 1) / time.Second)
}

// ruleApproval is set for RequireApproval alone.
func (c *converter) ruleApproval(at Path, a v1alpha1.Action, in *v1alpha1.Approval) *policy.Approval {
	if a != v1alpha1.ActionRequireApproval {
		return nil
	}
	return c.approval(at.Child("approval"), in)
}

func detectors(in []v1alpha1.Detector) []string {
	var out []string
	for _, d := range in {
		out = append(out, string(d))
	}
	return out
}

// DefaultApproval is what an approval asks for where a policy says nothing about it.
func DefaultApproval() *policy.Approval {
	return (&converter{}).approval("", nil)
}
