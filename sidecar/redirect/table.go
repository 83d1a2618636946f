// Package redirect holds the nftables table that sends a pod's traffic through its sidecar and drops what cannot
// go that way: first as data that a person can read, then applied over netlink, then proved.
//
// It runs in an init container before any agent code, as uid 0 with NET_ADMIN and nothing else, in the pod's own
// network namespace.
package redirect

import (
	"fmt"
	"net/netip"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// TableName is the one table, of family inet, that this package owns.
const TableName = "chaperone"

// Config is what differs between pods.
type Config struct {
	// UID is the sidecar's uid, the only owner whose traffic is not redirected. Never 0.
	UID uint32
	// Nameservers are those noted from the pod's resolver settings. Nobody in the pod may speak for one; those that
	// are link-local stay reachable for the sidecar although every other link-local destination is closed.
	Nameservers []netip.Addr
}

// Table is a ruleset as data.
type Table struct {
	Name   string
	Chains []Chain
}

// Chain is a base chain.
type Chain struct {
	Name     string
	Type     string // nat or filter
	Hook     string // output or postrouting
	Priority int32
	Policy   string // accept or drop
	Rules    []Rule
}

// Rule is read as: what matches all of Match gets Verdict. Comment names what it is for and is kept in the
// kernel with the rule.
type Rule struct {
	Comment string
	Match   []Match
	Verdict Verdict
}

// closed are destinations that give a credential or the node's own services to whoever asks, and that no agent
// and no upstream of a policy has business with.
var closed = []struct {
	prefix  netip.Prefix
	comment string
}{
	{netip.MustParsePrefix("169.254.0.0/16"), "IPv4 link-local (RFC 3927): instance metadata, pod identity, node-local services"},
	{netip.MustParsePrefix("fe80::/10"), "IPv6 link-local (RFC 4291): the node itself; neighbour discovery is accepted above"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "AWS instance metadata and pod identity over IPv6"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "Google Cloud metadata over IPv6"},
	{netip.MustParsePrefix("100.100.100.200/32"), "Alibaba Cloud metadata"},
	{netip.MustParsePrefix("168.63.129.16/32"), "Azure wire server"},
	{netip.MustParsePrefix("192.0.0.192/32"), "Oracle Cloud metadata"},
}

// Closed says whether nothing in the pod, the sidecar included, may connect to the address: link-local and cloud
// metadata addresses. A resolver at such an address is reachable on port 53 alone.
func Closed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, c := range closed {
		if c.prefix.Contains(a) {
			return true
		}
	}
	return false
}

// New gives the table for one pod.
func New(c Config) (Table, error) {
	if c.UID == 0 {
		return Table{}, fmt.Errorf("the sidecar's uid is 0: root in an agent container would not be redirected")
	}
	return Table{Name: TableName, Chains: []Chain{nat(c), filter(c), leaving()}}, nil
}

// nat runs before the filter chain (priority dstnat, -100) and is asked once for each connection: conntrack
// repeats the answer for the packets that follow.
func nat(c Config) Chain {
	return Chain{Name: "redirect", Type: "nat", Hook: "output", Priority: -100, Policy: "accept", Rules: []Rule{
		{"the sidecar reaches upstreams, the operator and the nameservers itself",
			[]Match{Owner(c.UID)}, Return{}},
		{"containers of the pod reach each other, and the sidecar's answers reach them",
			[]Match{OutLoopback{}}, Return{}},
		{"names are resolved by the sidecar: what was asked for tells which target is meant",
			[]Match{Transport("udp"), Port(53)}, To(layout.DNSPort)},
		{"names over TCP, which is where truncated answers go (RFC 7766)",
			[]Match{Transport("tcp"), Port(53)}, To(layout.DNSPort)},
		{"every other TCP connection is judged by the sidecar, IPv4 and IPv6 alike",
			[]Match{Transport("tcp")}, To(layout.ProxyPort)},
	}}
}

// filter lets out what is listed and drops the rest: UDP, ICMP, SCTP, and whatever the kernel learns next. There
// is deliberately no exemption by mark, group or cgroup: NET_RAW is enough to set a mark.
func filter(c Config) Chain {
	var rules []Rule
	for _, ns := range c.Nameservers {
		rules = append(rules, Rule{
			"answers in a nameserver's name: IPv6 sends from any address that a socket is bound to (IPV6_FREEBIND)",
			[]Match{OutLoopback{}, source(ns.Unmap().WithZone(""))}, Drop{}})
	}
	rules = append(rules, []Rule{
		{"loopback",
			[]Match{OutLoopback{}}, Accept{}},
		// The packet that nat has just sent to the loopback address still shows the outgoing interface it was
		// first routed to, so that the rule above does not know it yet.
		{"redirected to the sidecar over IPv4",
			[]Match{Translated{}, To4(netip.MustParsePrefix("127.0.0.1/32"))}, Accept{}},
		{"redirected to the sidecar over IPv6",
			[]Match{Translated{}, To6(netip.MustParsePrefix("::1/128"))}, Accept{}},
		// RFC 4861 packets are sent by the kernel and have no socket, hence no owner; without them IPv6 dies.
		{"router solicitation (RFC 4861 4.1)", []Match{ICMPv6(133)}, Accept{}},
		{"neighbour solicitation (RFC 4861 4.3)", []Match{ICMPv6(135)}, Accept{}},
		{"neighbour advertisement (RFC 4861 4.4)", []Match{ICMPv6(136)}, Accept{}},
		{"multicast listener report: switches that snoop drop neighbour discovery without it (RFC 3810 5.2)",
			[]Match{ICMPv6(143)}, Accept{}},
		// A connection that an agent opens is either redirected or never established, so what is established
		// was opened from outside (kubelet's probes, the agent's own clients) or by the sidecar: the last
		// packets of its closed sockets have no owner any more. Not UDP: there, answering is enough to carry
		// data out.
		{"answers to connections from outside, and the end of the sidecar's own",
			[]Match{Transport("tcp"), Established{}}, Accept{}},
	}...)
	for _, ns := range c.Nameservers {
		ns = ns.Unmap().WithZone("")
		if !Closed(ns) {
			continue
		}
		for _, transport := range []Transport{"udp", "tcp"} {
			rules = append(rules, Rule{"the sidecar asks a nameserver that has a link-local address",
				[]Match{Owner(c.UID), destination(netip.PrefixFrom(ns, ns.BitLen())), transport, Port(53)}, Accept{}})
		}
	}
	for _, d := range closed {
		rules = append(rules, Rule{d.comment, []Match{destination(d.prefix)}, Drop{}})
	}
	rules = append(rules,
		Rule{"the sidecar", []Match{Owner(c.UID)}, Accept{}},
		// The policy says the same, but a chain that replaces another has its policy a moment later than its
		// rules (nf_tables_commit), and in that moment a datagram would leave.
		Rule{"everything else", nil, Drop{}})
	return Chain{Name: "output", Type: "filter", Hook: "output", Priority: 0, Policy: "drop", Rules: rules}
}

// leaving sees the interface that a redirected packet was routed to anew, which the output hook does not: a socket
// bound to an interface (SO_BINDTODEVICE needs no privilege) would carry a packet for the loopback address out of
// the pod, to a node that may accept it (CVE-2020-8558).
func leaving() Chain {
	return Chain{Name: "leaving", Type: "filter", Hook: "postrouting", Priority: 0, Policy: "accept", Rules: []Rule{
		{"loopback", []Match{OutLoopback{}}, Accept{}},
		{"IPv4 loopback addresses by another interface", []Match{To4(netip.MustParsePrefix("127.0.0.0/8"))}, Drop{}},
		{"the IPv6 loopback address by another interface", []Match{To6(netip.MustParsePrefix("::1/128"))}, Drop{}},
	}}
}

func source(a netip.Addr) Match {
	if a.Is4() {
		return From4(a)
	}
	return From6(a)
}

func destination(p netip.Prefix) Match {
	if p.Addr().Is4() {
		return To4(p)
	}
	return To6(p)
}
