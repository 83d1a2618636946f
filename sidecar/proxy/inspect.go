package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// patience is how long a protocol has to say goodbye when its session is ended: by a change of policy, or with the pod.
const patience = 2 * time.Second

// inspect hands the connection to its destination's protocol.
func (p *Proxy) inspect(ctx context.Context, c *connection) {
	d := c.route.place.destination
	protocol := p.Protocols[d.Protocol()]
	if protocol == nil {
		protocol = unserved{d.Protocol()}
	}
	decider, err := p.decider(c.route.place)
	if err != nil {
		p.Log.Error(err, "A connection was refused")
		reset(c.agent)
		return
	}
	recorder := p.Record(logOptions(d))
	s := &session.Session{
		Agent:        c.agent,
		Original:     c.to,
		Host:         c.route.asked,
		Rules:        decider,
		Changed:      p.changes.Next,
		Leaf:         p.leaf(c),
		DialUpstream: func(ctx context.Context) (net.Conn, error) { return p.dial(ctx, c.route.place, c.to.Addr()) },
		Credentials:  p.Credentials,
		Approvals:    p.Approvals,
		Recorder:     recorder,
		Terminal: func() session.Recorder {
			o := logOptions(d)
			o.Terminal = true
			return p.Record(o)
		},
		Log: p.Log.WithValues("target", d.Name()),
	}
	// Whoever waits for something that ignores ctx is woken by the connection's end.
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(patience, func() { c.agent.Close() })
	})
	defer stop()
	err = protocol.Serve(ctx, s)
	// The protocol closes it; one that failed to must not keep the agent waiting.
	c.agent.Close()
	if err := errors.Join(err, recorder.Close()); err != nil && ctx.Err() == nil {
		p.Log.V(1).Info("A session ended with an error", "target", d.Name(), "error", err.Error())
	}
}

func logOptions(d *policy.Destination) record.LogOptions {
	o := record.LogOptions{Target: d.Name(), Protocol: string(d.Protocol()), OnFailure: d.Recording().OnFailure}
	for _, ref := range d.Targets() {
		o.Policies = append(o.Policies, ref.Policy)
	}
	return o
}

// leaf names the certificate for clients that send no SNI by all that the target may be known by.
func (p *Proxy) leaf(c *connection) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	hosts := append([]string(nil), c.route.place.destination.Hosts()...)
	if c.route.asked != "" {
		hosts = append(hosts, c.route.asked)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return p.Leaf(hello.ServerName, hosts, c.to.Addr())
	}
}

// decider gives the rules for the place as of now. It is asked for every command, so that it looks the place up
// only when the policies have changed. Where they no longer have it, everything is denied.
func (p *Proxy) decider(at place) (func() *policy.Destination, error) {
	gone, err := withdrawn(at.destination)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards rules and decides, which belong together
	var rules *policy.Compiled
	var decides *policy.Destination
	return func() *policy.Destination {
		now, err := p.Rules()
		if err != nil {
			return gone
		}
		mu.Lock()
		defer mu.Unlock()
		if now != rules {
			rules, decides = now, now.Lookup(at.host, at.destination.Port())
			if decides == nil || decides.Protocol() != at.destination.Protocol() {
				decides = gone
			}
		}
		return decides
	}, nil
}
