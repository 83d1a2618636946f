package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// sidecar is the product's PostgreSQL protocol on a loopback listener, in front of a server.
type sidecar struct {
	port      int
	authority *postgresserver.Authority

	listener net.Listener
	stop     context.CancelFunc
	sessions sync.WaitGroup

	mu       sync.Mutex                     // guards refusals
	refusals map[string]map[string]struct{} // by application_name: the messages of what was refused
}

// targetHost is the policy's name for the server, which its certificate proves.
const targetHost = "db.test"

// startSidecar serves until Close. The policy gives no credential: each client is the user that it says it is, and
// the server has to trust it.
func startSidecar(s *postgresserver.Server) (*sidecar, error) {
	pg := policy.Postgres{TLSMode: policy.TLSVerifyFull, CAPEM: s.Authority.PEM, DefaultAction: policy.Allow}
	set, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{{
		Namespace: "conformance", Name: "everything", Generation: 1, Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets:   []policy.Target{{Name: "db", Hosts: []string{targetHost}, Port: 5432, Postgres: &pg}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("compiling the policy: %w", err)
	}
	destination := set.Lookup(targetHost, 5432)
	if destination == nil {
		return nil, errors.New("the policy has no destination")
	}
	c := &sidecar{refusals: make(map[string]map[string]struct{})}
	if c.authority, err = postgresserver.NewAuthority("the pod's authority"); err != nil {
		return nil, err
	}
	cert, key, err := c.authority.Issue(targetHost, targetHost, "localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	leaf, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	var listening net.ListenConfig
	ctx, stop := context.WithCancel(context.Background())
	if c.listener, err = listening.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		stop()
		return nil, err
	}
	c.stop, c.port = stop, c.listener.Addr().(*net.TCPAddr).Port
	protocol := postgres.New(postgres.Options{})
	c.sessions.Add(1)
	go func() {
		defer c.sessions.Done()
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			c.sessions.Add(1)
			go func() {
				defer c.sessions.Done()
				// How a session ends the client sees; what was refused the recorder is told.
				_ = protocol.Serve(ctx, &session.Session{
					Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:5432"), Host: targetHost,
					Rules: func() *policy.Destination { return destination },
					Leaf:  func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &leaf, nil },
					DialUpstream: func(ctx context.Context) (net.Conn, error) {
						var d net.Dialer
						return d.DialContext(ctx, "tcp", s.Address())
					},
					Credentials: nobody{}, Approvals: nobody{}, Recorder: &recorder{sidecar: c}, Log: logr.Discard(),
				})
			}()
		}
	}()
	return c, nil
}

// Close ends all sessions.
func (c *sidecar) Close() {
	c.stop()
	c.listener.Close()
	c.sessions.Wait()
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
