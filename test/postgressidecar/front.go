// Package postgressidecar stands in for the proxy in front of the PostgreSQL protocol: it accepts on loopback and
// hands over sessions with a policy, a credential, people to ask and a recorder, as a sidecar does, in the test's own
// process. It does not import the protocol, so that the protocol's own tests can use it.
package postgressidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// Host is the name that the target goes by, Port its port as the policy knows it.
const (
	Host = "db.test"
	Port = 5432
)

// Policy is how the policy of Destination goes by; Target its target.
const (
	Policy = "prod/billing"
	Target = "billing"
)

// Front accepts agents' connections and serves them.
type Front struct {
	Protocol session.Protocol
	// Rules, Dial, Credentials, Approvals and Recorder are what each session is given.
	Rules       func() *policy.Destination
	Dial        func(context.Context) (net.Conn, error)
	Credentials session.Credentials
	Approvals   session.Approvals
	Recorder    session.Recorder
	// Ended is called with what Serve returned. May be nil.
	Ended func(error)

	// Authority signs the certificate that agents are shown. Start makes it.
	Authority *postgresserver.Authority

	listener net.Listener
	sessions sync.WaitGroup
	cancel   context.CancelFunc
}

// Start begins to accept.
func (f *Front) Start() error {
	var err error
	if f.Authority, err = postgresserver.NewAuthority("the pod's authority"); err != nil {
		return err
	}
	cert, key, err := f.Authority.Issue(Host, Host, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	leaf, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	if f.listener, err = config.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.sessions.Add(1)
	go f.accept(ctx, &leaf)
	return nil
}

// Stop ends all sessions and waits for them.
func (f *Front) Stop() {
	f.cancel()
	f.listener.Close()
	f.sessions.Wait()
}

// Address is where agents connect, DSN a connection string for it, without TLS.
func (f *Front) Address() string { return f.listener.Addr().String() }

// DSN is a connection string of an agent, without TLS.
func (f *Front) DSN(database string) string {
	port := f.listener.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf("host=127.0.0.1 port=%d user=whoever dbname=%s sslmode=disable", port, database)
}

func (f *Front) accept(ctx context.Context, leaf *tls.Certificate) {
	defer f.sessions.Done()
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.sessions.Add(1)
		go func() {
			defer f.sessions.Done()
			err := f.Protocol.Serve(ctx, &session.Session{
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:" + strconv.Itoa(Port)), Host: Host,
				Rules:        f.Rules,
				Leaf:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return leaf, nil },
				DialUpstream: f.Dial, Credentials: f.Credentials, Approvals: f.Approvals, Recorder: f.Recorder,
				Log: logr.Discard(),
			})
			if f.Ended != nil {
				f.Ended(err)
			}
		}()
	}
}

// Dialer dials one address.
func Dialer(address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
}

// Destination compiles a policy that enforces pg for the target, and records in the spool.
func Destination(pg policy.Postgres, change ...func(*policy.Policy)) (*policy.Destination, error) {
	p := policy.Policy{
		Namespace: "prod", Name: "billing", Generation: 3, Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets:   []policy.Target{{Name: Target, Hosts: []string{Host}, Port: Port, Postgres: &pg}},
	}
	for _, f := range change {
		f(&p)
	}
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{p}})
	if err != nil {
		return nil, err
	}
	d := compiled.Lookup(Host, Port)
	if d == nil {
		return nil, errors.New("the policy has no destination")
	}
	return d, nil
}
