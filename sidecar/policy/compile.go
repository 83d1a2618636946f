package policy

import (
	"fmt"
	"strings"
)

// Compiled is a Set ready to decide. It is immutable and safe for concurrent use.
type Compiled struct {
	set          *Set
	policies     []*compiledPolicy
	destinations []*Destination
	byAddress    map[hostPort]*Destination
}

type compiledPolicy struct {
	name        string // namespace/name
	generation  int64
	audit       bool
	unmatched   Action
	passthrough []passthrough
	targets     []*compiledTarget
}

type compiledTarget struct {
	policy   *compiledPolicy
	target   *Target
	protocol Protocol
	hosts    []string
	port     uint16
	rules    []compiledRule
	refusals compiledRefusals
	fallback Action // the target's defaultAction
	// unrecognised is what happens to a command that was not understood: Deny or RequireApproval.
	unrecognised Action
}

// Compile checks the set and makes it ready to decide. An error names the policy, target, rule and field that
// is wrong, as a person who wrote the AgentPolicy knows them.
func Compile(set Set) (*Compiled, error) {
	c := &Compiled{set: &set, byAddress: make(map[hostPort]*Destination)}
	for i := range set.Policies {
		p, err := compilePolicy(&set.Policies[i])
		if err != nil {
			return nil, err
		}
		c.policies = append(c.policies, p)
	}
	c.merge()
	return c, nil
}

// Set returns what was compiled.
func (c *Compiled) Set() *Set { return c.set }

// Destinations returns every destination that the policies have a target for, in the order of the policies.
func (c *Compiled) Destinations() []*Destination { return c.destinations }

// Lookup returns the destination for a name (or textual address) and port, or nil where no policy has a target
// for it. Names compare without case and without a trailing dot.
func (c *Compiled) Lookup(host string, port uint16) *Destination {
	return c.byAddress[hostPort{foldHost(host), port}]
}

func compilePolicy(doc *Policy) (*compiledPolicy, error) {
	p := &compiledPolicy{
		name:       doc.Namespace + "/" + doc.Name,
		generation: doc.Generation,
		audit:      doc.Enforcement == Audit,
		unmatched:  doc.Egress.Unmatched,
	}
	at := "policy " + p.name
	if err := oneOf(at, "enforcement", doc.Enforcement, Enforce, Audit); err != nil {
		return nil, err
	}
	if err := oneOf(at, "egress.unmatched", doc.Egress.Unmatched, Allow, Deny); err != nil {
		return nil, err
	}
	for i := range doc.Egress.Allow {
		pass, err := compilePassthrough(&doc.Egress.Allow[i])
		if err != nil {
			return nil, fmt.Errorf("%s: egress.allow[%d].%w", at, i, err)
		}
		p.passthrough = append(p.passthrough, pass)
	}
	names := make(map[string]bool, len(doc.Targets))
	taken := make(map[hostPort]string)
	for i := range doc.Targets {
		t, err := compileTarget(p, &doc.Targets[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if names[t.target.Name] {
			return nil, fmt.Errorf("%s: target %q: name: used by another target of the policy", at, t.target.Name)
		}
		names[t.target.Name] = true
		for _, h := range t.hosts {
			key := hostPort{h, t.port}
			if other, dup := taken[key]; dup {
				return nil, fmt.Errorf("%s: target %q: hosts: %s port %d already belongs to target %q", at, t.target.Name, h, t.port, other)
			}
			taken[key] = t.target.Name
		}
		p.targets = append(p.targets, t)
	}
	return p, nil
}

// oneOf refuses a value outside an enumeration; an empty value stands for the first, the default.
func oneOf[T ~string](at, field string, got T, want ...T) error {
	if got == "" {
		return nil
	}
	names := make([]string, len(want))
	for i, w := range want {
		if got == w {
			return nil
		}
		names[i] = string(w)
	}
	return fmt.Errorf("%s: %s: %q is not one of %s", at, field, got, strings.Join(names, ", "))
}
