// Package measured runs one path of the sidecar as a program of its own, built, started and limited as the shipped one is:
// what a benchmark itself needs to drive clients and servers would otherwise be in its memory too.
package measured

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
	"github.com/chaperone-dev/chaperone/sidecar/resident"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Path is one protocol of the sidecar, on the way to the only target of a policy.
type Path struct {
	Protocol session.Protocol
	Name     policy.Protocol
	Policy   policy.Policy
	Upstream string // address of the target's server
	Folder   string // for the spool
	Uplink   record.Uplink
	// Complete adds what the protocol needs of a session beside its rules, its recorders and its connections.
	Complete func(*session.Session)
	// Profile is the file for a CPU profile, empty for none.
	Profile string
}

// Main runs the path that wire makes of what the process is told, as JSON on its standard input. It prints the address
// that it listens on, and serves until SIGTERM. At SIGUSR1 it gives back what memory it can.
func Main[T any](wire func(context.Context, *T) (*Path, error)) {
	if err := run(wire); err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}

func run[T any](wire func(context.Context, *T) (*Path, error)) error {
	resident.SpareHeap()
	told := new(T)
	if err := json.NewDecoder(os.Stdin).Decode(told); err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := wire(ctx, told)
	if err != nil {
		return err
	}
	if p.Profile != "" {
		f, err := os.Create(p.Profile)
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
	return p.serve(ctx)
}

func (p *Path) serve(ctx context.Context) error {
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{p.Policy}})
	if err != nil {
		return err
	}
	target := p.Policy.Targets[0]
	host, port := target.Hosts[0], target.Port
	destination := compiled.Lookup(host, port)
	spool, err := record.Open(record.Options{Dir: p.Folder + "/spool", Budget: 256 << 20, Uplink: p.Uplink, Log: logr.Discard()})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Println(listener.Addr())
	small := make(chan error, 1)
	go func() { small <- resident.Keep(ctx) }() // as a sidecar does that has started
	log := record.LogOptions{Target: destination.Name(), Protocol: string(p.Name), OnFailure: policy.Block}
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
			s := &session.Session{
				Agent: conn, Original: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), port), Host: host,
				Rules: func() *policy.Destination { return destination },
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", p.Upstream)
				},
				Recorder: spool.Log(log).Recorder(), Terminal: func() session.Recorder { return spool.Log(terminal).Recorder() },
				Log: logr.Discard(),
			}
			p.Complete(s)
			// How a session ends is its client's own business.
			_ = p.Protocol.Serve(ctx, s)
		})
	}
	sessions.Wait()
	if err := <-small; err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return spool.Close(last)
}

// Lease is the credential that the operator would give.
type Lease session.Lease

// Lease implements session.Credentials.
func (l Lease) Lease(context.Context, string, string) (*session.Lease, error) {
	return (*session.Lease)(&l), nil
}
