// Package sidecar is the Kubernetes path of the sidecar that is measured, in a program of its own: what the benchmark itself
// needs to speak to an API server would otherwise be in its memory too.
package sidecar

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/kube"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// Wiring is what the process is told, as JSON on its standard input.
type Wiring struct {
	Upstream string // where the API server is
	Folder   string // with kube-token and kube-ca.crt; for the agents' authority and the spool
	Profile  string
}

// Told is what it says of itself, as JSON on its standard output.
type Told struct {
	Address string
	CAPEM   []byte
}

// rules are such as people write.
func rules(port uint16) policy.Policy {
	return policy.Policy{
		Namespace: "prod", Name: "ops", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "cluster", Hosts: []string{"localhost"}, Port: port, Kubernetes: &policy.Kubernetes{
			DefaultAction: policy.Deny,
			Masking:       []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}},
			Rules: []policy.Rule{
				{Name: "no-deletes", Action: policy.Deny, Match: policy.Match{Verbs: []string{"delete", "deletecollection"}}},
				{Name: "no-removal", Action: policy.Deny, Match: policy.Match{Resources: []string{"pods/exec"}, Programs: []string{"rm", "shred", "dd"}}},
				{Name: "looking", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec"}, Programs: []string{"true", "cat", "head", "tar", "wc"}}},
				{Name: "reads", Action: policy.Allow, Match: policy.Match{Verbs: []string{"get", "list", "watch"}, Resources: []string{"pods", "configmaps"}}},
				{Name: "notes", Action: policy.Allow, Match: policy.Match{Verbs: []string{"patch", "update"}, Resources: []string{"configmaps"}}},
			},
		}}},
	}
}

// Serve runs until the process is told to end. It prints where it listens and whom to trust.
func Serve() error {
	var w Wiring
	if err := json.NewDecoder(os.Stdin).Decode(&w); err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if w.Profile != "" {
		f, err := os.Create(w.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	_, text, err := net.SplitHostPort(w.Upstream)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return err
	}
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{rules(uint16(port))}})
	if err != nil {
		return err
	}
	destination := compiled.Lookup("localhost", uint16(port))
	authority, err := trust.LoadAuthority(w.Folder, "prod/bench")
	if err != nil {
		return err
	}
	leaves, err := trust.NewLeaves(authority)
	if err != nil {
		return err
	}
	spool, err := record.Open(record.Options{Dir: w.Folder + "/spool", Budget: 256 << 20, Uplink: process.Operator{}, Log: logr.Discard()})
	if err != nil {
		return err
	}
	protocol := kube.New(kube.Options{TokenFile: filepath.Join(w.Folder, "kube-token"), CAFile: filepath.Join(w.Folder, "kube-ca.crt")})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	if err := json.NewEncoder(os.Stdout).Encode(Told{Address: listener.Addr().String(), CAPEM: authority.PEM()}); err != nil {
		return err
	}
	log := record.LogOptions{Target: destination.Name(), Protocol: string(policy.ProtocolKubernetes), OnFailure: policy.Block}
	terminal := log
	terminal.Terminal = true
	var sessions sync.WaitGroup
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			return err
		}
		sessions.Go(func() {
			// How a session ends is its client's own business.
			_ = protocol.Serve(ctx, &session.Session{
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:443"), Host: "localhost",
				Rules: func() *policy.Destination { return destination },
				Leaf: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					return leaves.For(hello.ServerName, []string{"localhost"}, netip.MustParseAddr("127.0.0.1"))
				},
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", w.Upstream)
				},
				Recorder: spool.Log(log).Recorder(), Terminal: func() session.Recorder { return spool.Log(terminal).Recorder() },
				Log: logr.Discard(),
			})
		})
	}
	sessions.Wait()
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return spool.Close(last)
}
