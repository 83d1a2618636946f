package kubeserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/sidecar/kube"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/session/sessiontest"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

// Placeholder is the token that agents hold: as good as none.
const Placeholder = "held-by-chaperone"

// Sidecar is the Kubernetes protocol behind a listener on loopback.
type Sidecar struct {
	Log  *sessiontest.Log
	Desk *sessiontest.Desk
	// Terminals are the logs of terminals, in their order.
	terminalsMu sync.Mutex // guards terminals
	terminals   []*sessiontest.Log

	// Lease, where it is set, is what the operator leases.
	Lease atomic.Pointer[session.Lease]

	operator    atomic.Pointer[session.Credentials] // leases, where it is set
	protocol    *kube.Protocol
	listener    net.Listener
	host        string // the policy's name for the API server
	upstream    string
	authority   *trust.Authority
	leaves      *trust.Leaves
	destination atomic.Pointer[policy.Destination]
	changes     session.Changes
	sessions    sync.WaitGroup
	cancel      context.CancelFunc
	dir         string
}

// Front starts a sidecar in front of an API server at address, whose account's token it holds, under the target's rules.
// dir is for its files.
func Front(ctx context.Context, dir, address, token string, caPEM []byte, target policy.Kubernetes, change ...func(*policy.Policy)) (*Sidecar, error) {
	return FrontOf(ctx, dir, "localhost", address, token, caPEM, target, change...)
}

// FrontOf is Front of an API server that the policy has another name for.
func FrontOf(ctx context.Context, dir, host, address, token string, caPEM []byte, target policy.Kubernetes, change ...func(*policy.Policy)) (*Sidecar, error) {
	return front(ctx, dir, host, address, token, caPEM, target, kube.Options{}, change...)
}

// FrontWithin is Front with another kube.Options.WriteTimeout.
func FrontWithin(ctx context.Context, bound time.Duration, dir, address, token string, caPEM []byte, target policy.Kubernetes) (*Sidecar, error) {
	return front(ctx, dir, "localhost", address, token, caPEM, target, kube.Options{WriteTimeout: bound})
}

func front(ctx context.Context, dir, host, address, token string, caPEM []byte, target policy.Kubernetes, options kube.Options, change ...func(*policy.Policy)) (*Sidecar, error) {
	s := &Sidecar{Log: &sessiontest.Log{}, Desk: sessiontest.NewDesk(), host: host, upstream: address, dir: dir}
	if err := s.Apply(target, change...); err != nil {
		return nil, err
	}
	if err := s.Token(token); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "kube-ca.crt"), caPEM, 0o600); err != nil {
		return nil, err
	}
	var err error
	if s.authority, err = trust.LoadAuthority(dir, "agents/agent-0"); err != nil {
		return nil, err
	}
	if s.leaves, err = trust.NewLeaves(s.authority); err != nil {
		return nil, err
	}
	options.TokenFile, options.CAFile = filepath.Join(dir, "kube-token"), filepath.Join(dir, "kube-ca.crt")
	s.protocol = kube.New(options)
	if s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.sessions.Go(func() { s.accept(ctx) })
	return s, nil
}

// Token renews the account's token, as the kubelet does.
func (s *Sidecar) Token(token string) error {
	return os.WriteFile(filepath.Join(s.dir, "kube-token"), []byte(token), 0o600)
}

// Apply puts the target's rules in force.
func (s *Sidecar) Apply(target policy.Kubernetes, change ...func(*policy.Policy)) error {
	return s.ApplyAll(target, func(p *policy.Policy) {
		for _, c := range change {
			c(p)
		}
	})
}

// ApplyAll puts several policies in force, each the one of Apply with a change.
func (s *Sidecar) ApplyAll(target policy.Kubernetes, changes ...func(*policy.Policy)) error {
	_, port, err := net.SplitHostPort(s.upstream)
	if err != nil {
		return err
	}
	var number uint16
	if _, err := fmt.Sscan(port, &number); err != nil {
		return err
	}
	var set policy.Set
	for _, change := range changes {
		p := policy.Policy{
			Namespace: "agents", Name: "ops", Generation: 3, Enforcement: policy.Enforce,
			Egress:    policy.Egress{Unmatched: policy.Deny},
			Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
			Targets:   []policy.Target{{Name: "cluster", Hosts: []string{s.host}, Port: number, Kubernetes: &target}},
		}
		change(&p)
		set.Policies = append(set.Policies, p)
	}
	rules, err := policy.Compile(set)
	if err != nil {
		return err
	}
	s.destination.Store(rules.Lookup(s.host, number))
	s.changes.Announce()
	return nil
}

// Obey puts in force what an operator says, and leases what it leases.
func (s *Sidecar) Obey(rules *policy.Compiled, credentials session.Credentials) error {
	at, err := netip.ParseAddrPort(s.upstream)
	if err != nil {
		return err
	}
	s.operator.Store(&credentials)
	s.destination.Store(rules.Lookup(s.host, at.Port()))
	s.changes.Announce()
	return nil
}

// Withdraw leaves no policy that has a target for the API server.
func (s *Sidecar) Withdraw() {
	s.destination.Store(nil)
	s.changes.Announce()
}

// Stop ends all sessions.
func (s *Sidecar) Stop() {
	s.cancel()
	s.listener.Close()
	s.sessions.Wait()
}

// Address is where agents connect to.
func (s *Sidecar) Address() string { return s.listener.Addr().String() }

// CAPEM is what agents trust.
func (s *Sidecar) CAPEM() []byte { return s.authority.PEM() }

// Config is an agent's: with a token that is none.
func (s *Sidecar) Config() *rest.Config {
	return &rest.Config{
		Host: "https://" + s.Address(), BearerToken: Placeholder,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CAPEM()},
		QPS:             -1,
	}
}

// Terminals returns the logs of terminals so far.
func (s *Sidecar) Terminals() []*sessiontest.Log {
	s.terminalsMu.Lock()
	defer s.terminalsMu.Unlock()
	return append([]*sessiontest.Log(nil), s.terminals...)
}

func (s *Sidecar) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.sessions.Go(func() {
			_ = s.protocol.Serve(ctx, &session.Session{
				Agent:    conn,
				Original: netip.MustParseAddrPort(conn.LocalAddr().String()),
				Host:     s.host,
				Rules:    s.destination.Load,
				Changed:  s.changes.Next,
				Leaf: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					return s.leaves.For(hello.ServerName, []string{s.host}, netip.MustParseAddr("127.0.0.1"))
				},
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", s.upstream)
				},
				Credentials: leases{s}, Approvals: s.Desk, Recorder: s.Log, Terminal: s.terminal,
				Log: logr.Discard(),
			})
		})
	}
}

func (s *Sidecar) terminal() session.Recorder {
	s.terminalsMu.Lock()
	defer s.terminalsMu.Unlock()
	l := &sessiontest.Log{}
	s.terminals = append(s.terminals, l)
	return l
}

// leases gives what the test said, or the operator.
type leases struct{ sidecar *Sidecar }

func (l leases) Lease(ctx context.Context, policy, target string) (*session.Lease, error) {
	if operator := l.sidecar.operator.Load(); operator != nil {
		return (*operator).Lease(ctx, policy, target)
	}
	if lease := l.sidecar.Lease.Load(); lease != nil {
		return lease, nil
	}
	return nil, errors.New("the Secret is missing")
}
