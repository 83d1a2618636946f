// Package proxy accepts what the pod's rules redirect to the sidecar, finds out which target each connection is for,
// and hands it to the target's protocol, passes it on uninspected, or refuses it.
//
// Everything that an agent sends is hostile, its DNS included: a connection is matched by names that the noted
// nameservers gave addresses for, and upstreams are dialled by the policy's own name.
package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/proxy/dns"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/original"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

const (
	// maxConnections bounds the connections of a pod: at some 100 KiB for an inspected one they fit the sidecar's
	// memory limit several times over, and few pods come near.
	maxConnections = 512
	// reviewPeriod is how often open connections are compared with the policies besides when these change: a set
	// of policies also ends by its age.
	reviewPeriod = 30 * time.Second
)

// Resolver gives the addresses of a policy's host. Its error wraps dns.ErrNoHost where there is none.
type Resolver interface {
	Lookup(ctx context.Context, host string) ([]netip.Addr, error)
}

// Proxy is one pod's.
type Proxy struct {
	// Rules gives the policies in force; an error says in words for an agent why nothing is allowed.
	Rules func() (*policy.Compiled, error)
	// Search completes short names of policies.
	Search resolver.Settings
	// Names remembers what agents asked for; Resolver asks for the sidecar itself.
	Names    *dns.Names
	Resolver Resolver
	// Protocols serve inspected connections; a target of a protocol that is missing is refused.
	Protocols map[policy.Protocol]session.Protocol
	// Own are the pod's addresses.
	Own []netip.Addr
	// Leaf makes the certificate shown to a client that sent this SNI, or none.
	Leaf        func(sni string, hosts []string, address netip.Addr) (*tls.Certificate, error)
	Credentials session.Credentials
	Approvals   session.Approvals
	// Record opens a connection's part of a target's log.
	Record func(record.LogOptions) session.Recorder
	Log    logr.Logger

	// destination reads where a connection was going; tests that need no redirect replace it.
	destination func(*net.TCPConn) (netip.AddrPort, error)

	current atomic.Pointer[directory]
	seats   chan struct{}
	refused journal

	changes session.Changes // of the policies

	liveMu sync.Mutex // guards live
	live   map[*connection]struct{}
}

// directory is that of the policies in force.
func (p *Proxy) directory() (*directory, error) {
	rules, err := p.Rules()
	if err != nil {
		return nil, err
	}
	d := p.current.Load()
	if d == nil || d.rules != rules {
		d = newDirectory(rules, p.Search)
		p.current.Store(d)
	}
	return d, nil
}

// own tells whether the address is the pod's.
func (p *Proxy) own(a netip.Addr) bool {
	for _, o := range p.Own {
		if o == a {
			return true
		}
	}
	return false
}

// RuleName decides for the resolver: only names that a policy lets the pod connect to are asked for.
func (p *Proxy) RuleName(name string) (dns.Ruling, string) {
	d, err := p.directory()
	if err != nil {
		return dns.NotNow, err.Error()
	}
	if d.speaksOf(name) {
		return dns.Forward, ""
	}
	return dns.NoSuchName, "no policy of this pod lets it connect to this name"
}

func (p *Proxy) init() {
	if p.destination == nil {
		p.destination = func(c *net.TCPConn) (netip.AddrPort, error) { return original.Destination(c) }
	}
	p.seats = make(chan struct{}, maxConnections)
	p.live = make(map[*connection]struct{})
}
