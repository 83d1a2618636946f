package dns

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

type (
	nameserver = netlab.Nameserver
	zone       = netlab.Zone
)

func client(t testing.TB, n *nameserver) *Client {
	t.Helper()
	port := n.Start(t, "127.0.0.1", 0)
	return newClient(resolver.Settings{
		Nameservers: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Search:      []string{"prod.svc.cluster.local", "svc.cluster.local"}, Ndots: 5,
	}, port)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func addresses(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
