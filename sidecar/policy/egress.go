package policy

import (
	"errors"
	"fmt"
	"strings"
)

type passthrough struct {
	hosts []string // lower case; a leading "*." stands for one or more labels
	ports []uint16
}

func compilePassthrough(doc *Passthrough) (passthrough, error) {
	var p passthrough
	for _, h := range doc.Hosts {
		if err := checkPassthroughHost(h); err != nil {
			return passthrough{}, fmt.Errorf("hosts: %w", err)
		}
		p.hosts = append(p.hosts, foldHost(h))
	}
	if len(p.hosts) == 0 {
		return passthrough{}, errors.New("hosts: at least one is needed")
	}
	for _, port := range doc.Ports {
		if port == 0 {
			return passthrough{}, errors.New("ports: 0 is not a port")
		}
	}
	if len(doc.Ports) == 0 {
		return passthrough{}, errors.New("ports: at least one is needed")
	}
	p.ports = doc.Ports
	return p, nil
}

func checkPassthroughHost(h string) error {
	rest := strings.TrimPrefix(h, "*.")
	if rest == "" || strings.ContainsAny(rest, "*? /\t\r\n\x00") {
		return fmt.Errorf("%q is not a host name, an address or a name with a leading \"*.\"", h)
	}
	return nil
}

func (p *passthrough) match(host string, port uint16) bool {
	found := false
	for _, have := range p.ports {
		found = found || have == port
	}
	if !found {
		return false
	}
	for _, h := range p.hosts {
		if h == host {
			return true
		}
		if suffix, wildcard := strings.CutPrefix(h, "*"); wildcard && len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// Passthrough reports whether a connection that no target is for may pass uninspected: every policy must agree.
// Without any policy nothing may.
func (c *Compiled) Passthrough(host string, port uint16) bool {
	return c.EgressVerdict(host, port).Action == Allow
}

// EgressVerdict decides a connection that no target is for, by name (empty where the agent asked for none) and
// port. Its rule is RuleEgress.
func (c *Compiled) EgressVerdict(host string, port uint16) Verdict {
	folded := foldHost(host)
	if len(c.policies) == 0 {
		return Verdict{Action: Deny, Rule: RuleEgress, Message: "no policy applies to this pod, so it may not connect to " + hostText(folded, port)}
	}
	var out Verdict
	for _, p := range c.policies {
		v := Verdict{Action: Deny, Policy: p.name, Generation: p.generation, Rule: RuleEgress}
		if p.unmatched == Allow {
			v.Action = Allow
		}
		for i := range p.passthrough {
			if p.passthrough[i].match(folded, port) {
				v.Action = Allow
			}
		}
		if v.Action == Deny {
			v.Message = "no target of the policy and no entry of egress.allow is for " + hostText(folded, port)
		}
		out = stricter(out, p.weaken(v))
	}
	return out
}

func hostText(host string, port uint16) string {
	if host == "" {
		host = "an address without a name"
	}
	return fmt.Sprintf("%s port %d", host, port)
}

// foldHost brings a name to the form in which hosts compare.
func foldHost(h string) string {
	return strings.ToLower(strings.TrimSuffix(h, "."))
}
