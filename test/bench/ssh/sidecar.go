package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/ssh"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// sidecarVerb makes this program the sidecar's SSH path, with what it is told on its standard input.
const sidecarVerb = "sidecar"

// wiring is what the sidecar's process is told.
type wiring struct {
	Upstream   string // where the server is
	KnownHosts []byte
	Key        []byte // the credential
	Folder     string // with the host keys, and for the spool
	Profile    string
}

// rules are such as people write.
func rules(w *wiring) policy.Policy {
	return policy.Policy{
		Namespace: "prod", Name: "ops", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "bastion", Hosts: []string{sshserver.Host}, Port: 22, SSH: &policy.SSH{
			User: sshserver.User, KnownHosts: w.KnownHosts, HasCredentials: true, CredentialsID: "prod/bastion-key",
			DefaultAction: policy.Deny,
			Masking:       []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}},
			Rules: []policy.Rule{
				{Name: "no-removal", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm", "shred", "dd", "mkfs*"}}},
				{Name: "no-root", Action: policy.Deny, Match: policy.Match{Programs: []string{"sudo", "su", "doas"}}},
				{Name: "reads", Action: policy.Allow, Match: policy.Match{Programs: []string{"true", "cat", "head", "tail", "ls"}}},
				{Name: "copies", Action: policy.Allow, Match: policy.Match{Programs: []string{"scp"}}},
				{Name: "files", Action: policy.Allow, Match: policy.Match{Operations: []string{"read", "list", "stat"}}},
			},
		}}},
	}
}

// serve runs until it is told to end. It prints the port that it listens on.
func serve() error {
	var w wiring
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
	collect := make(chan os.Signal, 1)
	signal.Notify(collect, syscall.SIGUSR1)
	go func() {
		for range collect {
			debug.FreeOSMemory()
		}
	}()
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{rules(&w)}})
	if err != nil {
		return err
	}
	destination := compiled.Lookup(sshserver.Host, 22)
	keys, err := trust.LoadHostKeys(w.Folder)
	if err != nil {
		return err
	}
	signers, err := keys.Signers()
	if err != nil {
		return err
	}
	spool, err := record.Open(record.Options{Dir: w.Folder + "/spool", Budget: 256 << 20, Uplink: process.Operator{}, Log: logr.Discard()})
	if err != nil {
		return err
	}
	protocol := ssh.New(ssh.Options{Host: signers})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log := record.LogOptions{Target: destination.Name(), Protocol: string(policy.ProtocolSSH), OnFailure: policy.Block}
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
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:22"), Host: sshserver.Host,
				Rules: func() *policy.Destination { return destination },
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", w.Upstream)
				},
				Credentials: lease{KeyPEM: w.Key, NotAfter: time.Now().Add(time.Hour)},
				Recorder:    spool.Log(log).Recorder(), Terminal: func() session.Recorder { return spool.Log(terminal).Recorder() },
				Log: logr.Discard(),
			})
		})
	}
	sessions.Wait()
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return spool.Close(last)
}

// lease is the credential that the operator would give.
type lease session.Lease

func (l lease) Lease(context.Context, string, string) (*session.Lease, error) {
	return (*session.Lease)(&l), nil
}
