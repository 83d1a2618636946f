package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/ssh"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// sidecar is the product's SSH path before one server.
type sidecar struct {
	protocol    *ssh.Protocol
	destination *policy.Destination
	lease       session.Lease
	dial        func(context.Context) (net.Conn, error)
	denied      *os.File // what was denied is written there
}

func yes() *bool { b := true; return &b }

// newSidecar allows everything to be done as the user.
func newSidecar(host *trust.HostSigners, user string, knownHosts, key []byte, denied string) (*sidecar, error) {
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{{
		Namespace: "prod", Name: "ops", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "bastion", Hosts: []string{sshserver.Host}, Port: 22, SSH: &policy.SSH{
			User: user, KnownHosts: knownHosts, HasCredentials: true, CredentialsID: "prod/bastion-key", DefaultAction: policy.Allow,
			Rules: []policy.Rule{
				{Name: "terminals", Action: policy.Allow, Match: policy.Match{PTY: yes()}},
				{Name: "shells", Action: policy.Allow, Match: policy.Match{Interactive: yes()}},
				{Name: "forwardings", Action: policy.Allow, Match: policy.Match{Forwarding: policy.Forwardings}},
				{Name: "subsystems", Action: policy.Allow, Match: policy.Match{Subsystems: []string{"*"}}},
			},
		}}},
	}}})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(denied, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return &sidecar{
		protocol: ssh.New(ssh.Options{Host: host}), destination: compiled.Lookup(sshserver.Host, 22),
		lease: session.Lease{KeyPEM: key, NotAfter: time.Now().Add(time.Hour)}, denied: f,
	}, nil
}

// serve serves one connection to its end.
func (s *sidecar) serve(conn net.Conn) error {
	return s.protocol.Serve(context.Background(), &session.Session{
		Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:22"), Host: sshserver.Host,
		Rules: func() *policy.Destination { return s.destination }, DialUpstream: s.dial,
		Credentials: s, Recorder: log{s.denied}, Terminal: func() session.Recorder { return log{s.denied} }, Log: logr.Discard(),
	})
}

// listen serves all that come until the listener is closed.
func (s *sidecar) listen(l net.Listener) {
	var all sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		// How a session ends is its client's own business.
		all.Go(func() { _ = s.serve(conn) })
	}
}

// Lease implements session.Credentials.
func (s *sidecar) Lease(context.Context, string, string) (*session.Lease, error) {
	return &s.lease, nil
}

// log writes down what was denied.
type log struct{ to io.Writer }

func (l log) Record(e record.Event) error {
	if e.Kind == record.KindCommand && e.Verdict == string(policy.Deny) {
		_, err := fmt.Fprintln(l.to, e.Message)
		return err
	}
	return nil
}
func (l log) Flush(context.Context) error { return nil }
func (l log) Close() error                { return nil }

var errNoPort = errors.New("the configuration names no port")
