package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/proxy/dns"
	"github.com/chaperone-dev/chaperone/sidecar/redirect"
)

// resolveTimeout bounds finding out whether an address is a target's. The agent's connect has succeeded already,
// so that it waits as for a slow server.
const resolveTimeout = 5 * time.Second

// route is where a connection goes.
type route struct {
	// place is set for a destination that is inspected.
	place place
	// asked is the name that the agent asked the resolver for, if one is known.
	asked string
	// verdict decides where place is not set.
	verdict policy.Verdict
	// byName says that the connection may pass because of its name, which a TLS client must then mean as well.
	byName bool
}

func refuse(rule, format string, args ...any) route {
	return route{verdict: policy.Verdict{Action: policy.Deny, Rule: rule, Message: fmt.Sprintf(format, args...)}}
}

// Rules of refusals that no policy gave.
const (
	ruleAddress   = "address"   // an address that nothing in a pod may connect to
	ruleAmbiguous = "ambiguous" // two targets that nothing tells apart
	ruleNoPolicy  = "no-policy" // no policy is in force
)

// route decides about a connection to the address.
func (p *Proxy) route(ctx context.Context, to netip.AddrPort) route {
	address := to.Addr()
	switch {
	case address.IsLoopback(), address.IsUnspecified(), address.IsMulticast(), p.own(address):
		return refuse(ruleAddress, "a connection to %s does not leave the pod; the sidecar's own port serves only what was redirected to it", to)
	case redirect.Closed(address):
		return refuse(ruleAddress, "%s is a link-local or cloud metadata address, which no pod with a policy may connect to", to)
	}
	d, err := p.directory()
	if err != nil {
		return refuse(ruleNoPolicy, "%v", err)
	}
	names := p.Names.Of(address)
	slices.Sort(names) // the same connection is always judged alike
	places := d.named(append(names, address.String()), to.Port())
	var unsure error
	if len(places) == 0 {
		places, unsure = p.resolved(ctx, d, to)
	}
	switch {
	case len(places) == 1:
		return route{place: places[0], asked: known(names, places[0], d)}
	case len(places) > 1:
		return refuse(ruleAmbiguous, "targets %s and %s share %s and nothing tells them apart; give one of them an address or a port of its own, or make them one target with two hosts",
			places[0].destination.Name(), places[1].destination.Name(), to)
	}
	r := p.uninspected(ctx, d, names, to)
	if r.verdict.Action == policy.Allow && unsure != nil {
		return refuse(ruleAmbiguous, "it cannot be told whether %s is a target: %v", to, unsure)
	}
	return r
}

// known is the name by which the agent asked for the place, or any that it asked for.
func known(names []string, at place, d *directory) string {
	for _, full := range d.fullNames(at.host) {
		if slices.Contains(names, full) {
			return full
		}
	}
	if len(names) > 0 {
		return names[0]
	}
	return ""
}

// resolved finds the destinations whose hosts have the address now, for an agent that did not ask us: it kept an
// address, or was configured with one. The error says which hosts could not be resolved.
func (p *Proxy) resolved(ctx context.Context, d *directory, to netip.AddrPort) ([]place, error) {
	candidates := d.byPort[to.Port()]
	hosts := make([]string, len(candidates))
	for i, c := range candidates {
		hosts[i] = c.host
	}
	found, err := p.whose(ctx, hosts, to.Addr())
	var out []place
	for i, c := range candidates {
		if found[i] {
			out = append(out, c)
		}
	}
	return distinct(out), err
}

// whose tells which hosts have the address. A host that is known not to exist has none.
func (p *Proxy) whose(ctx context.Context, hosts []string, address netip.Addr) ([]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found := make([]bool, len(hosts))
	failed := make([]error, len(hosts))
	var wait sync.WaitGroup
	for i, host := range hosts {
		wait.Go(func() {
			addresses, err := p.Resolver.Lookup(ctx, host)
			if err != nil && !errors.Is(err, dns.ErrNoHost) {
				failed[i] = err
			}
			found[i] = slices.Contains(addresses, address)
		})
	}
	wait.Wait()
	return found, errors.Join(failed...)
}

// uninspected judges a connection that no target is for.
func (p *Proxy) uninspected(ctx context.Context, d *directory, names []string, to netip.AddrPort) route {
	asked := strings.Join(names, ", ")
	plain := d.egress("", to.Port())
	if plain.Action == policy.Allow && plain.Audited == "" {
		return route{asked: asked, verdict: plain}
	}
	best := route{asked: asked, verdict: plain}
	consider := func(name string, byName bool) {
		v := d.egress(name, to.Port())
		switch {
		case better(v, best.verdict):
			best = route{asked: name, verdict: v, byName: byName}
		case byName && v.Action == policy.Deny && best.verdict.Action == policy.Deny:
			// The policy to name in the refusal is the one that denies this name.
			best.verdict = v
		}
	}
	for _, name := range names {
		consider(name, true)
	}
	// A policy that lists the address itself means it whatever name a TLS client sends.
	consider(to.Addr().String(), false)
	if best.verdict.Action == policy.Allow || !slices.Contains(d.openPorts, to.Port()) {
		return best.explained(to, names)
	}
	// The agent did not ask us for the name.
	found, _ := p.whose(ctx, d.openHosts, to.Addr())
	for i, host := range d.openHosts {
		if found[i] {
			consider(host, true)
		}
	}
	return best.explained(to, names)
}

// explained says in a refusal what was dialled.
func (r route) explained(to netip.AddrPort, names []string) route {
	if r.verdict.Action == policy.Allow {
		return r
	}
	what := to.String()
	if len(names) > 0 {
		what = fmt.Sprintf("%s (%s)", strings.Join(names[:min(len(names), 3)], ", "), to)
	}
	if r.verdict.Policy != "" {
		r.verdict.Message = fmt.Sprintf("policy %s has no target for %s and does not list it in egress.allow", r.verdict.Policy, what)
	} else {
		r.verdict.Message = fmt.Sprintf("no policy applies to this pod, so that it may not connect to %s", what)
	}
	return r
}
