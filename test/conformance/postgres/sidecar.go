package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// sidecar is the product's PostgreSQL protocol on loopback listeners, one for each host of a target.
type sidecar struct {
	port  int    // of the first host
	ports []int  // by host
	asks  int    // a port of the first host, where agents are asked for askedPassword
	root  []byte // the pod's certificate authority
	trust string // the folder of what agents read to trust it

	leaves    *trust.Leaves
	protocol  *postgres.Protocol
	target    target
	listeners []net.Listener
	stop      context.CancelFunc
	sessions  sync.WaitGroup

	mu       sync.Mutex                     // guards refusals
	refusals map[string]map[string]struct{} // by application_name: the messages of what was refused
}

// target is what a sidecar stands in front of.
type target struct {
	hosts []string
	mode  policy.TLSMode
	root  []byte // the certificates that its hosts are verified by
	// dial connects to a host.
	dial func(ctx context.Context, host string) (net.Conn, error)
}

// askedPassword is postgres.agentPassword of the port that asks, and on the direct side the password of askedRole.
const (
	askedRole     = "asked"
	askedPassword = "in the pod, ~100%"
)

// targetHost is the policy's name for the server, which its certificate proves.
const targetHost = "db.test"

// startSidecar serves a server until Close.
func startSidecar(s *postgresserver.Server) (*sidecar, error) {
	return startSidecarOf(target{hosts: []string{targetHost}, mode: policy.TLSVerifyFull, root: s.Authority.PEM,
		dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, s.Address()) }})
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// startSidecarOf serves until Close. The policy exempts all that a policy can exempt (docs/refusals.md) and gives no
// credential: each client is the user that it says it is, and the server has to trust it.
func startSidecarOf(t target) (*sidecar, error) {
	ctx, stop := context.WithCancel(context.Background())
	c := &sidecar{refusals: make(map[string]map[string]struct{}), protocol: postgres.New(postgres.Options{}), target: t, stop: stop}
	var err error
	if c.leaves, err = c.publish(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for _, host := range t.hosts {
		port, err := c.listen(ctx, host, "")
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.ports = append(c.ports, port)
	}
	c.port = c.ports[0]
	if c.asks, err = c.listen(ctx, t.hosts[0], askedPassword); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// rules are those of a host, where agents are asked for a password unless it is empty.
func (t target) rules(host, agentPassword string) (*policy.Destination, error) {
	pg := policy.Postgres{TLSMode: t.mode, CAPEM: t.root, DefaultAction: policy.Allow, AgentPassword: agentPassword,
		Refusals: policy.Refusals{Exempt: []policy.RefusalGroup{
			policy.RefuseServerControl, policy.RefuseSessions, policy.RefuseStatistics, policy.RefuseConnections,
		}}}
	set, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{{
		Namespace: "conformance", Name: "everything", Generation: 1, Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets:   []policy.Target{{Name: "db", Hosts: t.hosts, Port: 5432, Postgres: &pg}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("compiling the policy: %w", err)
	}
	destination := set.Lookup(host, 5432)
	if destination == nil {
		return nil, errors.New("the policy has no destination for " + host)
	}
	return destination, nil
}

// listen serves what connects to a host.
func (c *sidecar) listen(ctx context.Context, host, agentPassword string) (port int, err error) {
	destination, err := c.target.rules(host, agentPassword)
	if err != nil {
		return 0, err
	}
	listener, port, err := listen(ctx)
	if err != nil {
		return 0, err
	}
	c.listeners = append(c.listeners, listener)
	c.sessions.Add(1)
	go func() {
		defer c.sessions.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.sessions.Add(1)
			go func() {
				defer c.sessions.Done()
				c.serve(ctx, conn, host, destination)
			}()
		}
	}()
	return port, nil
}

func listen(ctx context.Context) (net.Listener, int, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}

func (c *sidecar) serve(ctx context.Context, conn net.Conn, host string, destination *policy.Destination) {
	// How a session ends the client sees; what was refused the recorder is told.
	_ = c.protocol.Serve(ctx, &session.Session{
		Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:5432"), Host: host,
		Rules: func() *policy.Destination { return destination },
		Leaf: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.leaves.For(hello.ServerName, []string{host}, netip.MustParseAddr("127.0.0.1"))
		},
		DialUpstream: func(ctx context.Context) (net.Conn, error) { return c.target.dial(ctx, host) },
		Credentials:  nobody{}, Approvals: nobody{}, Recorder: &recorder{sidecar: c}, Log: logr.Discard(),
	})
}

// publish makes the pod's authority and writes what agents read.
func (c *sidecar) publish() (*trust.Leaves, error) {
	var err error
	if c.trust, err = os.MkdirTemp("", "chaperone-trust-"); err != nil {
		return nil, err
	}
	authority, err := trust.LoadAuthority(c.trust, "conformance")
	if err != nil {
		return nil, err
	}
	c.root = authority.PEM()
	if err := trust.Publish(c.trust, "", "", c.root, nil); err != nil {
		return nil, err
	}
	return trust.NewLeaves(authority)
}

// Close ends all sessions.
func (c *sidecar) Close() error {
	c.stop()
	for _, l := range c.listeners {
		l.Close()
	}
	c.sessions.Wait()
	return os.RemoveAll(c.trust)
}

// refused are the messages of what the sidecar refused to clients of the application_name, or of one that begins
// with it and a slash.
func (c *sidecar) refused(application string) map[string]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]struct{})
	for name, messages := range c.refusals {
		if name == application || strings.HasPrefix(name, application+"/") {
			for m := range messages {
				out[m] = struct{}{}
			}
		}
	}
	return out
}

// recorder keeps what is refused.
type recorder struct {
	*sidecar
	client string
	began  bool
}

func (r *recorder) Record(e record.Event) error {
	message := ""
	switch e.Kind {
	case record.KindConnect:
		r.client = e.Client
	case record.KindCommand:
		r.began = true
		if e.Verdict == string(policy.Deny) {
			message = e.Message
		}
	case record.KindDisconnect:
		if !r.began {
			message = e.Error
		}
	}
	if message == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals[r.client] == nil {
		r.refusals[r.client] = make(map[string]struct{})
	}
	r.refusals[r.client][message] = struct{}{}
	return nil
}

func (r *recorder) Ready(int) bool              { return true }
func (r *recorder) Keep(e record.Event)         { _ = r.Record(e) }
func (r *recorder) Flush(context.Context) error { return nil }
func (r *recorder) Close() error                { return nil }

// nobody leases and approves: the policy asks for neither.
type nobody struct{}

func (nobody) Lease(context.Context, string, string) (*session.Lease, error) {
	return nil, errors.New("the policy of the conformance tests has no credential")
}

func (nobody) Await(context.Context, session.Ask, func(string)) (*session.Grant, error) {
	return nil, session.ErrUnavailable
}
