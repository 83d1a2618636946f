package policy

// Names of verdicts that no rule of a policy gave.
const (
	RuleDefault      = "default"      // the target's defaultAction
	RuleUnrecognised = "unrecognised" // the command could not be understood
	RuleBuiltin      = "builtin"      // refused whatever the rules say
	RuleRefusals     = "refusals"     // a function or table that the policy itself refuses before any rule
	RuleEgress       = "egress"       // a connection that no target is for
	RuleMasking      = "masking"      // would carry a protected value where it cannot be masked
	RuleInference    = "inference"    // uses a protected column outside plain output
	RuleConflict     = "conflict"     // the policies contradict each other on the destination
	RuleInterpreted  = "interpreted"  // a script whose commands are judged one by one (ssh.shell: Interpret)
	RuleAccess       = "access"       // the session itself waits for people (target.access)
)

// rank orders actions by strictness.
func rank(a Action) int {
	switch a {
	case Allow:
		return 1
	case RequireApproval:
		return 2
	case Deny:
		return 3
	}
	return 0
}

// Decide judges one command: each policy that has a target here decides, its verdict is weakened by its own
// Audit, and the strictest wins; of two approvals the one that needs more people. It does no I/O and allocates
// nothing for a command that is allowed.
func (d *Destination) Decide(cmd Command) Verdict {
	if d.conflict != "" {
		return Verdict{Action: Deny, Rule: RuleConflict, Message: d.conflict}
	}
	var out Verdict
	for _, t := range d.compiled {
		out = stricter(out, t.policy.weaken(t.decide(&cmd)))
	}
	return out
}

// DecideAll judges commands that run together and returns the strictest verdict with the index of the command
// that it is about. Without any command there is nothing to refuse: Allow, and -1.
func (d *Destination) DecideAll(cmds []Command) (Verdict, int) {
	out, at := Verdict{Action: Allow}, -1
	for i := range cmds {
		v := d.Decide(cmds[i])
		if at < 0 || less(out, v) {
			out, at = v, i
		}
	}
	return out, at
}

// stricter keeps the earlier of two equally strict verdicts, but remembers what Audit weakened.
func stricter(a, b Verdict) Verdict {
	if less(a, b) {
		if b.Audited == "" && b.Action == Allow {
			b.Audited = a.Audited
		}
		return b
	}
	return a
}

func less(a, b Verdict) bool {
	if rank(a.Action) != rank(b.Action) {
		return rank(a.Action) < rank(b.Action)
	}
	if a.Action == RequireApproval && a.Approval != nil && b.Approval != nil {
		return a.Approval.Required < b.Approval.Required
	}
	return a.Action == Allow && rank(a.Audited) < rank(b.Audited)
}

// weaken turns what an Audit policy would refuse into Allow and notes it.
func (p *compiledPolicy) weaken(v Verdict) Verdict {
	if p.audit && v.Action != Allow {
		v.Audited, v.Action, v.Approval = v.Action, Allow, nil
	}
	return v
}
