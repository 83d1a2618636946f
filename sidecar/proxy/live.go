package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// connection is one that is open.
type connection struct {
	agent  *net.TCPConn
	to     netip.AddrPort
	route  route
	cancel context.CancelCauseFunc
}

// errWithdrawn ends a connection that the policies no longer allow.
var errWithdrawn = errors.New("the policies of this pod changed and no longer allow this connection")

func (p *Proxy) enter(c *connection) {
	p.liveMu.Lock()
	defer p.liveMu.Unlock()
	p.live[c] = struct{}{}
}

func (p *Proxy) leave(c *connection) {
	p.liveMu.Lock()
	defer p.liveMu.Unlock()
	delete(p.live, c)
}

// review ends connections that the policies have withdrawn, and has sessions look at what they have going on.
func (p *Proxy) review(ctx context.Context, changed <-chan struct{}) {
	ticker := time.NewTicker(reviewPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
		p.changes.Announce()
		d, err := p.directory()
		p.liveMu.Lock()
		for c := range p.live {
			if err != nil || !d.stands(c) {
				c.cancel(errWithdrawn)
			}
		}
		p.liveMu.Unlock()
	}
}

// stands tells whether a connection may stay open. What an inspected one may do is decided command by command.
func (d *directory) stands(c *connection) bool {
	if now := c.route.place.destination; now != nil {
		found := d.rules.Lookup(c.route.place.host, now.Port())
		return found != nil && found.Protocol() == now.Protocol()
	}
	// A target that is new takes precedence over passing by.
	if len(d.named([]string{c.route.asked, c.to.Addr().String()}, c.to.Port())) > 0 {
		return false
	}
	for _, name := range []string{"", c.route.asked, c.to.Addr().String()} {
		if d.egress(name, c.to.Port()).Action == policy.Allow {
			return true
		}
	}
	return false
}
