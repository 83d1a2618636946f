package policy

// AccessDemand is what one policy asks for before a session to the destination may begin, and how long that may last.
type AccessDemand struct {
	// Policy is namespace/name, Target the target's name in it.
	Policy     string
	Generation int64
	Target     string
	// Approval is nil where only the time is bounded.
	Approval           *Approval
	MaxDurationSeconds int64
	// Audited says that the policy is in Audit: the demand is noted, nobody is asked and no session is ended.
	Audited bool
}

// Access returns what the policies ask for sessions as a whole (target.access), in the order of the policies.
func (d *Destination) Access() []AccessDemand {
	var out []AccessDemand
	for _, t := range d.compiled {
		if a := t.target.Access; a != nil && (a.Approval != nil || a.MaxDurationSeconds > 0) {
			out = append(out, AccessDemand{
				Policy: t.policy.name, Generation: t.policy.generation, Target: t.target.Name,
				Approval: a.Approval, MaxDurationSeconds: a.MaxDurationSeconds, Audited: t.policy.audit,
			})
		}
	}
	return out
}

// AccessAsks reports whether a session to the destination waits for people.
func (d *Destination) AccessAsks() bool {
	for _, a := range d.Access() {
		if a.Approval != nil && !a.Audited {
			return true
		}
	}
	return false
}

// TargetOf is the name that the destination's target has in a policy (namespace/name); the destination's own name
// where that policy has none.
func (d *Destination) TargetOf(policy string) string {
	for _, t := range d.targets {
		if t.Policy == policy {
			return t.Target.Name
		}
	}
	return d.name
}
