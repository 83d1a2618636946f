package proxy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// place is a destination by one of the names that its policies have for it.
type place struct {
	destination *policy.Destination
	// host is the policy's own name for it, with the final dot if the policy wrote one: what is dialled.
	host string
}

type namePort struct {
	name string // full, canonical
	port uint16
}

// directory finds destinations by the full names that an agent's resolver asks for. It is immutable.
type directory struct {
	rules  *policy.Compiled
	search resolver.Settings
	byName map[namePort][]place
	byPort map[uint16][]place
	names  map[string]bool
	// open are the ports and hosts that policies let pass uninspected; hosts only where they are no patterns.
	openPorts []uint16
	openHosts []string
}

func newDirectory(rules *policy.Compiled, search resolver.Settings) *directory {
	d := &directory{
		rules: rules, search: search,
		byName: make(map[namePort][]place), byPort: make(map[uint16][]place), names: make(map[string]bool),
	}
	for _, destination := range rules.Destinations() {
		for _, host := range destination.Hosts() {
			p := place{destination, written(destination, host)}
			d.byPort[destination.Port()] = append(d.byPort[destination.Port()], p)
			for _, name := range d.fullNames(p.host) {
				key := namePort{name, destination.Port()}
				d.byName[key] = append(d.byName[key], p)
				d.names[name] = true
			}
		}
	}
	for _, p := range rules.Set().Policies {
		for _, pass := range p.Egress.Allow {
			for _, port := range pass.Ports {
				if !slices.Contains(d.openPorts, port) {
					d.openPorts = append(d.openPorts, port)
				}
			}
			for _, host := range pass.Hosts {
				if !strings.HasPrefix(host, "*") && !slices.Contains(d.openHosts, host) {
					d.openHosts = append(d.openHosts, host)
				}
			}
		}
	}
	return d
}

// written is the host as a target spells it: a final dot keeps the search list away from it.
func written(d *policy.Destination, host string) string {
	for _, ref := range d.Targets() {
		for _, h := range ref.Target.Hosts {
			if strings.HasSuffix(h, ".") && resolver.Canonical(h) == host {
				return host + "."
			}
		}
	}
	return host
}

// fullNames are the names that the host may stand for; an address is itself.
func (d *directory) fullNames(host string) []string {
	if a, err := netip.ParseAddr(host); err == nil {
		return []string{a.Unmap().String()}
	}
	return d.search.Expand(host)
}

// shortNames are the spellings in a policy that the full name may be meant by: itself, and what is left of it
// before each domain of the search list.
func (d *directory) shortNames(full string) []string {
	out := []string{full}
	for _, domain := range d.search.Search {
		if short, ok := strings.CutSuffix(full, "."+domain); ok && short != "" && d.search.Completes(short, domain) {
			out = append(out, short)
		}
	}
	return out
}

// named finds the destinations on the port that go by any of the names.
func (d *directory) named(names []string, port uint16) []place {
	var out []place
	for _, name := range names {
		out = append(out, d.byName[namePort{name, port}]...)
	}
	return distinct(out)
}

// distinct keeps the first place of each destination, in the order of the policies.
func distinct(places []place) []place {
	var out []place
	for _, p := range places {
		if !slices.ContainsFunc(out, func(o place) bool { return o.destination == p.destination }) {
			out = append(out, p)
		}
	}
	return out
}

// egress is the best that the policies say of an uninspected connection to the port by the full name, or by none.
func (d *directory) egress(full string, port uint16) policy.Verdict {
	best := d.rules.EgressVerdict(full, port)
	if full == "" {
		return best
	}
	for _, name := range d.shortNames(full)[1:] {
		if v := d.rules.EgressVerdict(name, port); better(v, best) {
			best = v
		}
	}
	return best
}

// better tells whether a says yes where b says no, or says it without an Audit policy's help where b needs it.
func better(a, b policy.Verdict) bool {
	if a.Action != b.Action {
		return a.Action == policy.Allow
	}
	return a.Action == policy.Allow && a.Audited == "" && b.Audited != ""
}

// speaksOf tells whether any policy lets the pod connect to the name on any port: only such names are resolved.
func (d *directory) speaksOf(full string) bool {
	// Records that say where a service is are named below the host (RFC 2782): _postgresql._tcp.db.example.
	for strings.HasPrefix(full, "_") {
		_, rest, ok := strings.Cut(full, ".")
		if !ok {
			return false
		}
		full = rest
	}
	if d.names[full] {
		return true
	}
	for _, port := range append([]uint16{0}, d.openPorts...) {
		if d.egress(full, port).Action == policy.Allow {
			return true
		}
	}
	return false
}
