package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/redirect"
)

const (
	// dialTimeout bounds connecting to one address, and dialAll to all of them.
	dialTimeout = 5 * time.Second
	dialAll     = 15 * time.Second
)

// dial connects to the place by the policy's name for it. The address that the agent dialled is tried first if it
// is one of the name's, so that an agent which picks a replica gets that one.
func (p *Proxy) dial(ctx context.Context, at place, preferred netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialAll)
	defer cancel()
	addresses, err := p.Resolver.Lookup(ctx, at.host)
	if err != nil {
		return nil, err
	}
	addresses = slices.Clone(addresses)
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int {
		switch {
		case a == preferred && b != preferred:
			return -1
		case b == preferred && a != preferred:
			return 1
		}
		return 0
	})
	var failed []error
	for _, a := range addresses {
		if err := p.reachable(a); err != nil {
			failed = append(failed, err)
			continue
		}
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", netip.AddrPortFrom(a, at.destination.Port()).String())
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("connecting to %s port %d: %w", at.host, at.destination.Port(), errors.Join(failed...))
}

// reachable refuses addresses that an upstream cannot have: a name under somebody else's control may say anything.
func (p *Proxy) reachable(a netip.Addr) error {
	switch {
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), p.own(a):
		return fmt.Errorf("%s is the pod itself or no host", a)
	case redirect.Closed(a):
		return fmt.Errorf("%s is a link-local or cloud metadata address", a)
	}
	return nil
}

// Dialer connects to host:port by the noted nameservers, for what the sidecar itself talks to.
func Dialer(r Resolver) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		host, service, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q of %s: %w", service, host, err)
		}
		addresses, err := r.Lookup(ctx, host)
		if err != nil {
			return nil, err
		}
		var failed []error
		for _, a := range addresses {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(port)).String())
			if err == nil {
				return conn, nil
			}
			failed = append(failed, err)
		}
		return nil, errors.Join(failed...)
	}
}
