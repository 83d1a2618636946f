package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/proxy/dns"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// table is a resolver that knows what a test says.
type table map[string][]string

var errTrouble = errors.New("the nameservers are silent")

func (t table) Lookup(_ context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	texts, known := t[host]
	if !known {
		return nil, fmt.Errorf("resolving %s: %w", host, dns.ErrNoHost)
	}
	var out []netip.Addr
	for _, text := range texts {
		if text == "trouble" {
			return nil, errTrouble
		}
		out = append(out, netip.MustParseAddr(text))
	}
	return out, nil
}

var podSearch = resolver.Settings{Search: []string{"prod.svc.cluster.local", "svc.cluster.local", "cluster.local"}, Ndots: 5}

func postgres(name string, port uint16, hosts ...string) policy.Target {
	return policy.Target{Name: name, Hosts: hosts, Port: port, Postgres: &policy.Postgres{TLSMode: policy.TLSVerifyFull, DefaultAction: policy.Deny}}
}

func plan(name string, unmatched policy.Action, targets ...policy.Target) policy.Policy {
	return policy.Policy{Namespace: "prod", Name: name, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: unmatched}, Targets: targets}
}

func open(p policy.Policy, port uint16, hosts ...string) policy.Policy {
	p.Egress.Allow = append(p.Egress.Allow, policy.Passthrough{Hosts: hosts, Ports: []uint16{port}})
	return p
}

func audit(p policy.Policy) policy.Policy {
	p.Enforcement = policy.Audit
	return p
}

func compile(t testing.TB, policies ...policy.Policy) *policy.Compiled {
	t.Helper()
	c, err := policy.Compile(policy.Set{Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func routing(rules *policy.Compiled, names *dns.Names, r Resolver) *Proxy {
	return &Proxy{
		Rules: func() (*policy.Compiled, error) {
			if rules == nil {
				return nil, errors.New("no policy is in force: the operator has not been reached yet")
			}
			return rules, nil
		},
		Search: podSearch, Names: names, Resolver: r, Log: logr.Discard(),
		Own: []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")},
	}
}

func TestRoute(t *testing.T) {
	const fqdn = "billing-db.prod.svc.cluster.local"
	billing := plan("billing", policy.Deny, postgres("billing", 5432, fqdn))
	for name, c := range map[string]struct {
		policies []policy.Policy
		none     bool                // no set in force
		asked    map[string][]string // what the agent asked the resolver for, and got
		resolves table
		to       string
		target   string // its name, empty for egress
		host     string // the session's
		action   policy.Action
		rule     string
		message  string
		byName   bool
	}{
		"a name the agent asked for": {
			policies: []policy.Policy{billing}, asked: map[string][]string{fqdn: {"10.96.0.5"}},
			to: "10.96.0.5:5432", target: "billing", host: fqdn,
		},
		"over IPv6 as well": {
			policies: []policy.Policy{billing}, asked: map[string][]string{fqdn: {"fd00:10::5"}},
			to: "[fd00:10::5]:5432", target: "billing", host: fqdn,
		},
		"a policy's short name means what the search list makes of it": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("billing", 5432, "billing-db"))},
			asked:    map[string][]string{fqdn: {"10.96.0.5"}}, to: "10.96.0.5:5432", target: "billing", host: fqdn,
		},
		"a policy's name with a namespace": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("billing", 5432, "billing-db.prod"))},
			asked:    map[string][]string{fqdn: {"10.96.0.5"}}, to: "10.96.0.5:5432", target: "billing", host: fqdn,
		},
		"a name with a final dot is not completed": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("billing", 5432, "billing-db."))},
			asked:    map[string][]string{fqdn: {"10.96.0.5"}}, to: "10.96.0.5:5432", action: policy.Deny, rule: policy.RuleEgress,
		},
		"a rotating record: another address of the name, kept from earlier": {
			policies: []policy.Policy{billing}, asked: map[string][]string{fqdn: {"10.96.0.5", "10.96.0.6"}}, resolves: table{fqdn: {"10.96.0.7"}},
			to: "10.96.0.6:5432", target: "billing", host: fqdn,
		},
		"an address that was never asked for is looked for among the targets": {
			policies: []policy.Policy{billing}, resolves: table{fqdn: {"10.96.0.5"}}, to: "10.96.0.5:5432", target: "billing",
		},
		"a name of the agent's own at a target's address does not get around the target": {
			policies: []policy.Policy{plan("p", policy.Allow, postgres("billing", 5432, fqdn))},
			asked:    map[string][]string{"mine.example": {"10.96.0.5"}}, resolves: table{fqdn: {"10.96.0.5"}},
			to: "10.96.0.5:5432", target: "billing", host: "mine.example",
		},
		"a target that is an address": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("billing", 5432, "192.0.2.7"))}, to: "192.0.2.7:5432", target: "billing",
		},
		"another port of a target's host is not the target": {
			policies: []policy.Policy{billing}, asked: map[string][]string{fqdn: {"10.96.0.5"}}, to: "10.96.0.5:22", action: policy.Deny, rule: policy.RuleEgress,
			message: "policy prod/billing has no target for " + fqdn + " (10.96.0.5:22) and does not list it in egress.allow",
		},
		"two targets on an address, told apart by the name asked for": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("a", 5432, "a.example"), postgres("b", 5432, "b.example"))},
			asked:    map[string][]string{"a.example": {"192.0.2.1"}}, resolves: table{"a.example": {"192.0.2.1"}, "b.example": {"192.0.2.1"}},
			to: "192.0.2.1:5432", target: "a", host: "a.example",
		},
		"two targets on an address, both asked for": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("a", 5432, "a.example"), postgres("b", 5432, "b.example"))},
			asked:    map[string][]string{"a.example": {"192.0.2.1"}, "b.example": {"192.0.2.1"}},
			to:       "192.0.2.1:5432", action: policy.Deny, rule: ruleAmbiguous, message: "targets a and b share 192.0.2.1:5432",
		},
		"two targets on an address, neither asked for": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("a", 5432, "a.example"), postgres("b", 5432, "b.example"))},
			resolves: table{"a.example": {"192.0.2.1"}, "b.example": {"192.0.2.1"}},
			to:       "192.0.2.1:5432", action: policy.Deny, rule: ruleAmbiguous,
		},
		"two hosts of one target on an address are one target": {
			policies: []policy.Policy{plan("p", policy.Deny, postgres("a", 5432, "a.example", "b.example"))},
			asked:    map[string][]string{"a.example": {"192.0.2.1"}, "b.example": {"192.0.2.1"}},
			to:       "192.0.2.1:5432", target: "a", host: "a.example",
		},
		"unmatched connections that are denied": {
			policies: []policy.Policy{billing}, to: "203.0.113.1:443", action: policy.Deny, rule: policy.RuleEgress,
			message: "policy prod/billing has no target for 203.0.113.1:443",
		},
		"unmatched connections that are allowed": {
			policies: []policy.Policy{plan("p", policy.Allow)}, to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress,
		},
		"when a target cannot be resolved, what might be it does not pass uninspected": {
			policies: []policy.Policy{plan("p", policy.Allow, postgres("billing", 5432, fqdn))}, resolves: table{fqdn: {"trouble"}},
			to: "203.0.113.1:5432", action: policy.Deny, rule: ruleAmbiguous, message: "the nameservers are silent",
		},
		"but other ports do": {
			policies: []policy.Policy{plan("p", policy.Allow, postgres("billing", 5432, fqdn))}, resolves: table{fqdn: {"trouble"}},
			to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress,
		},
		"one policy that denies is enough": {
			policies: []policy.Policy{plan("a", policy.Allow), plan("b", policy.Deny)}, to: "203.0.113.1:443", action: policy.Deny, rule: policy.RuleEgress,
		},
		"an Audit policy denies nothing": {
			policies: []policy.Policy{audit(plan("a", policy.Deny))}, to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress,
		},
		"a host that may pass, asked for": {
			policies: []policy.Policy{open(billing, 443, "api.llm.example")}, asked: map[string][]string{"api.llm.example": {"203.0.113.1"}},
			to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress, host: "api.llm.example", byName: true,
		},
		"a host that may pass, by a pattern": {
			policies: []policy.Policy{open(billing, 443, "*.llm.example")}, asked: map[string][]string{"eu.api.llm.example": {"203.0.113.1"}},
			to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress, host: "eu.api.llm.example", byName: true,
		},
		"a short host that may pass": {
			policies: []policy.Policy{open(billing, 4317, "otel.prod")}, asked: map[string][]string{"otel.prod.svc.cluster.local": {"10.96.0.8"}},
			to: "10.96.0.8:4317", action: policy.Allow, rule: policy.RuleEgress, host: "otel.prod.svc.cluster.local", byName: true,
		},
		"a host that may pass, not asked for": {
			policies: []policy.Policy{open(billing, 443, "api.llm.example")}, resolves: table{"api.llm.example": {"203.0.113.1"}},
			to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress, host: "api.llm.example", byName: true,
		},
		"an address that may pass": {
			policies: []policy.Policy{open(billing, 443, "203.0.113.1")}, to: "203.0.113.1:443", action: policy.Allow, rule: policy.RuleEgress,
			host: "203.0.113.1",
		},
		"another port of a host that may pass": {
			policies: []policy.Policy{open(billing, 443, "api.llm.example")}, asked: map[string][]string{"api.llm.example": {"203.0.113.1"}},
			to: "203.0.113.1:22", action: policy.Deny, rule: policy.RuleEgress,
		},
		"a host that only one of two policies lets pass": {
			policies: []policy.Policy{open(plan("a", policy.Deny), 443, "api.llm.example"), plan("b", policy.Deny)},
			asked:    map[string][]string{"api.llm.example": {"203.0.113.1"}}, to: "203.0.113.1:443", action: policy.Deny, rule: policy.RuleEgress,
			message: "policy prod/b has no target",
		},
		"the listener itself":        {policies: []policy.Policy{plan("p", policy.Allow)}, to: "127.0.0.1:15001", action: policy.Deny, rule: ruleAddress},
		"the listener over IPv6":     {policies: []policy.Policy{plan("p", policy.Allow)}, to: "[::1]:15001", action: policy.Deny, rule: ruleAddress},
		"the pod's own address":      {policies: []policy.Policy{plan("p", policy.Allow)}, to: "10.0.0.9:8080", action: policy.Deny, rule: ruleAddress},
		"the pod's own IPv6 address": {policies: []policy.Policy{plan("p", policy.Allow)}, to: "[fd00::9]:8080", action: policy.Deny, rule: ruleAddress},
		"the metadata address, whatever the policy says": {
			policies: []policy.Policy{open(plan("p", policy.Allow), 80, "169.254.169.254")}, to: "169.254.169.254:80",
			action: policy.Deny, rule: ruleAddress, message: "metadata",
		},
		"a name that was made to give the metadata address": {
			policies: []policy.Policy{plan("p", policy.Allow, postgres("a", 80, "a.example"))}, asked: map[string][]string{"a.example": {"169.254.169.254"}},
			to: "169.254.169.254:80", action: policy.Deny, rule: ruleAddress,
		},
		"no policy has arrived": {none: true, to: "203.0.113.1:443", action: policy.Deny, rule: ruleNoPolicy, message: "the operator has not been reached yet"},
		"no policy is left":     {to: "203.0.113.1:443", action: policy.Deny, rule: policy.RuleEgress, message: "no policy applies to this pod"},
	} {
		t.Run(name, func(t *testing.T) {
			var rules *policy.Compiled
			if !c.none {
				rules = compile(t, c.policies...)
			}
			names := dns.NewNames(time.Now)
			for asked, texts := range c.asked {
				for _, a := range texts {
					names.Remember(asked, []netip.Addr{netip.MustParseAddr(a)}, time.Minute)
				}
			}
			r := routing(rules, names, c.resolves).route(t.Context(), netip.MustParseAddrPort(c.to))
			if c.target != "" {
				if r.place.destination == nil || r.place.destination.Name() != c.target || r.asked != c.host {
					t.Fatalf("got %+v", r)
				}
				return
			}
			if r.place.destination != nil || r.verdict.Action != c.action || r.verdict.Rule != c.rule || r.byName != c.byName {
				t.Fatalf("got %+v", r)
			}
			if !strings.Contains(r.verdict.Message, c.message) || c.action == policy.Deny && r.verdict.Message == "" {
				t.Errorf("message %q", r.verdict.Message)
			}
			if c.host != "" && r.asked != c.host {
				t.Errorf("asked %q", r.asked)
			}
		})
	}
}

func TestRuleName(t *testing.T) {
	closed := open(plan("p", policy.Deny, postgres("billing", 5432, "billing-db.prod"), postgres("far", 5432, "db.example.")), 443, "*.llm.example", "otel")
	for name, c := range map[string]struct {
		policies []policy.Policy
		name     string
		want     dns.Ruling
	}{
		"a target's full name":                         {[]policy.Policy{closed}, "billing-db.prod.svc.cluster.local", dns.Forward},
		"a pod of the namespace that goes by it":       {[]policy.Policy{closed}, "billing-db.prod.prod.svc.cluster.local", dns.NoSuchName},
		"a pod that goes by what may pass":             {[]policy.Policy{open(closed, 443, "partner.example")}, "partner.example.prod.svc.cluster.local", dns.NoSuchName},
		"a target with a final dot":                    {[]policy.Policy{closed}, "db.example", dns.Forward},
		"which has no variants":                        {[]policy.Policy{closed}, "db.example.prod.svc.cluster.local", dns.NoSuchName},
		"a service record of a target":                 {[]policy.Policy{closed}, "_postgresql._tcp.db.example", dns.Forward},
		"a pattern that may pass":                      {[]policy.Policy{closed}, "eu.api.llm.example", dns.Forward},
		"not the name below the pattern":               {[]policy.Policy{closed}, "llm.example", dns.NoSuchName},
		"a short name that may pass, completed":        {[]policy.Policy{closed}, "otel.prod.svc.cluster.local", dns.Forward},
		"a name that carries data out":                 {[]policy.Policy{closed}, "c2VjcmV0.evil.example", dns.NoSuchName},
		"data in front of a target's name":             {[]policy.Policy{closed}, "c2VjcmV0.db.example", dns.NoSuchName},
		"nothing but underscores":                      {[]policy.Policy{closed}, "_a._b", dns.NoSuchName},
		"the root":                                     {[]policy.Policy{closed}, "", dns.NoSuchName},
		"a reverse name":                               {[]policy.Policy{closed}, "1.0.0.10.in-addr.arpa", dns.NoSuchName},
		"anything where unmatched is allowed":          {[]policy.Policy{plan("p", policy.Allow)}, "anything.example", dns.Forward},
		"one policy that denies is enough":             {[]policy.Policy{plan("p", policy.Allow), plan("q", policy.Deny)}, "anything.example", dns.NoSuchName},
		"an Audit policy refuses nothing":              {[]policy.Policy{audit(plan("p", policy.Deny))}, "anything.example", dns.Forward},
		"no policy is left":                            {[]policy.Policy{}, "anything.example", dns.NoSuchName},
		"no policy has arrived: it may be asked later": {nil, "anything.example", dns.NotNow},
	} {
		t.Run(name, func(t *testing.T) {
			var rules *policy.Compiled
			if c.policies != nil {
				rules = compile(t, c.policies...)
			}
			got, why := routing(rules, dns.NewNames(time.Now), table{}).RuleName(c.name)
			if got != c.want || (got == dns.Forward) != (why == "") {
				t.Errorf("got %v, %q", got, why)
			}
		})
	}
}

func TestUpstreamsAreNeverThePodOrMetadata(t *testing.T) {
	p := routing(nil, nil, table{"a.example": {"127.0.0.1", "::1", "10.0.0.9", "169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"}, "b.example": {}})
	d := compile(t, plan("p", policy.Deny, postgres("a", 5432, "a.example"))).Destinations()[0]
	conn, err := p.dial(t.Context(), place{d, "a.example"}, netip.Addr{})
	if err == nil {
		conn.Close()
		t.Fatal("it was dialled")
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 7 || !strings.Contains(err.Error(), "connecting to a.example port 5432") {
		t.Errorf("%d reasons: %v", got, err)
	}
	if _, err := p.dial(t.Context(), place{d, "c.example"}, netip.Addr{}); !errors.Is(err, dns.ErrNoHost) {
		t.Errorf("a host that does not exist: %v", err)
	}
}
