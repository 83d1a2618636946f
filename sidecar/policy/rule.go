package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Condition is a rule's `when`, compiled.
type Condition interface {
	// Eval says whether the rule is for the command. An error is a refusal: what could not be evaluated is not
	// allowed.
	Eval(Command) (bool, error)
}

// Conditions compiles `when` expressions. Linking package sidecar/policy/cel sets it; the sidecar sets it to
// sidecar/policy/when, which has the expressions evaluated by another process: the evaluator is large, and only
// policies that use it should pay for it.
var Conditions func(protocol Protocol, expression string) (Condition, error)

func compileCondition(protocol Protocol, expression string) (Condition, error) {
	if Conditions == nil {
		return nil, errors.New("this program was built without CEL")
	}
	return Conditions(protocol, expression)
}

// checkProtocol refuses a match on what the protocol does not have: it would silently match nothing.
func (m *Match) checkProtocol(protocol Protocol) error {
	postgres, ssh, kubernetes := []Protocol{ProtocolPostgres}, []Protocol{ProtocolSSH}, []Protocol{ProtocolKubernetes}
	shells := []Protocol{ProtocolSSH, ProtocolKubernetes}
	fields := []struct {
		name      string
		set       bool
		protocols []Protocol
	}{
		{"commands", len(m.Commands) > 0, postgres},
		{"tables", len(m.Tables) > 0, postgres},
		{"columns", len(m.Columns) > 0, postgres},
		{"functions", len(m.Functions) > 0, postgres},
		{"unfiltered", m.Unfiltered != nil, postgres},
		{"programs", len(m.Programs) > 0, shells},
		{"arguments", len(m.Arguments) > 0, shells},
		{"subsystems", len(m.Subsystems) > 0, ssh},
		{"paths", len(m.Paths) > 0, ssh},
		{"forwarding", len(m.Forwarding) > 0, ssh},
		{"operations", len(m.Operations) > 0, ssh},
		{"addresses", len(m.Addresses) > 0, ssh},
		{"users", len(m.Users) > 0, ssh},
		{"pty", m.PTY != nil, ssh},
		{"unresolved", m.Unresolved != nil, shells},
		{"verbs", len(m.Verbs) > 0, kubernetes},
		{"apiGroups", len(m.APIGroups) > 0, kubernetes},
		{"resources", len(m.Resources) > 0, kubernetes},
		{"namespaces", len(m.Namespaces) > 0, kubernetes},
		{"names", len(m.Names) > 0, kubernetes},
		{"containers", len(m.Containers) > 0, kubernetes},
		{"tty", m.TTY != nil, kubernetes},
		{"interactive", m.Interactive != nil, shells},
		{"ports", len(m.Ports) > 0, kubernetes},
	}
	for _, f := range fields {
		if f.set && !slices.Contains(f.protocols, protocol) {
			return fmt.Errorf("match.%s: a field of %s rules, not of %s rules", f.name, f.protocols[0], protocol)
		}
	}
	return nil
}

// decide is one policy's verdict, before its Audit weakens it.
func (t *compiledTarget) decide(cmd *Command) Verdict {
	v := Verdict{Policy: t.policy.name, Generation: t.policy.generation}
	switch {
	case cmd.Unrecognised != "":
		return t.unrecognisedVerdict(v, cmd.Unrecognised)
	case cmd.Protocol != t.protocol || cmd.of() != t.protocol:
		return t.unrecognisedVerdict(v, "no recogniser for "+string(cmd.Protocol)+" on a "+string(t.protocol)+" target")
	}
	if what, why := cmd.refused(); why != "" {
		v.Action, v.Rule, v.Message = Deny, RuleBuiltin, what+" refused: "+why
		return v
	}
	if cmd.SQL != nil {
		return t.decideSQL(v, cmd)
	}
	return t.decideRules(v, cmd)
}

func (t *compiledTarget) decideSQL(v Verdict, cmd *Command) Verdict {
	s := cmd.SQL
	if rule, why := t.refusals.refuses(s); why != "" {
		v.Action, v.Rule, v.Message = Deny, rule, s.Command+" refused: "+why
		return v
	}
	if s.Launders != "" && len(t.target.Postgres.Masking) > 0 {
		v.Action, v.Rule, v.Message = Deny, RuleMasking, s.Command+" refused: "+s.Launders
		return v
	}
	v = t.decideRules(v, cmd)
	if s.Infers == "" {
		return v
	}
	if i := t.target.Postgres.Inference; rank(i) > rank(v.Action) {
		v.Action, v.Rule, v.Approval = i, RuleInference, nil
		v.Message = s.Command + " uses " + s.Infers + ", which is masked, outside plain output"
		if i == RequireApproval {
			v.Approval = &defaultApproval
		}
	}
	return v
}

func (t *compiledTarget) decideRules(v Verdict, cmd *Command) Verdict {
	for i := range t.rules {
		r := &t.rules[i]
		matched, err := r.match(cmd)
		if err != nil {
			v.Action, v.Rule, v.Message = Deny, r.doc.Name, "the rule's condition could not be evaluated: "+err.Error()
			v.Unevaluated = true
			return v
		}
		if matched {
			return t.verdict(v, r.action(cmd), r.doc.Name, r.doc.Message, r.doc.Approval, cmd)
		}
	}
	if cmd.control() {
		v.Action, v.Rule = Allow, RuleBuiltin
		return v
	}
	fallback := t.fallback
	if cmd.Kubernetes != nil {
		fallback = cmd.Kubernetes.fallback(fallback)
	}
	if fallback == Allow && cmd.SSH != nil && cmd.SSH.ofItsOwn() {
		fallback = Deny
	}
	if fallback == RequireApproval && cmd.SSH != nil && cmd.SSH.startsSFTP() {
		fallback = Allow // people are asked about each file
	}
	return t.verdict(v, fallback, RuleDefault, "", nil, cmd)
}

func (t *compiledTarget) verdict(v Verdict, action Action, rule, message string, approval *Approval, cmd *Command) Verdict {
	v.Action, v.Rule, v.Message = action, rule, message
	if action == Allow {
		return v
	}
	if message == "" {
		v.Message = describe(cmd, action)
	}
	if action == RequireApproval {
		v.Approval = approval
		if approval == nil {
			v.Approval = &defaultApproval
		}
	}
	return v
}

func (t *compiledTarget) unrecognisedVerdict(v Verdict, why string) Verdict {
	v.Action, v.Rule, v.Message = t.unrecognised, RuleUnrecognised, "the command was not understood: "+why
	if v.Action == RequireApproval {
		v.Approval = &defaultApproval
	}
	return v
}

// defaultApproval is what an approval asks for where the policy says nothing, the defaults of the AgentPolicy
// resource: one person, a quarter of an hour, never while a transaction holds locks.
var defaultApproval = Approval{Required: 1, TimeoutSeconds: 900, WaitSeconds: 900, InTransaction: "Refuse", Scope: "Pod"}

// describe names what was refused: the command and what it works on.
func describe(cmd *Command, action Action) string {
	var what string
	switch cmd.of() {
	case ProtocolPostgres:
		what = cmd.SQL.what()
	case ProtocolSSH:
		what = cmd.SSH.what()
	case ProtocolKubernetes:
		what = cmd.Kubernetes.what()
	}
	if action == RequireApproval {
		return what + " needs an approval"
	}
	return what + " is not allowed"
}

// what names the statement and the tables that it works on.
func (s *SQL) what() string {
	var b strings.Builder
	b.WriteString(s.Command)
	if s.Unfiltered && (s.Command == "UPDATE" || s.Command == "DELETE") {
		b.WriteString(" without WHERE")
	}
	if len(s.Tables) > 0 {
		b.WriteString(" on ")
		for i := range s.Tables {
			// A statement may name thousands; three tell the reader which one it was.
			if i == 3 {
				fmt.Fprintf(&b, " and %d more", len(s.Tables)-i)
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(s.Tables[i].what())
		}
	}
	if s.Opaque {
		b.WriteString(", whose effect cannot be seen,")
	}
	return b.String()
}
