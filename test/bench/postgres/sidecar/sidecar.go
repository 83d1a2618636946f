// Package sidecar is the PostgreSQL path of the sidecar that is measured, in a program of its own: what the benchmark itself
// needs to drive clients and an operator would otherwise be in its memory too.
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
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/resident"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Wiring is what the process is told, as JSON on its standard input.
type Wiring struct {
	Set              policy.Set
	Host             string // of the target in Set
	Upstream         string // where it is
	User, Password   string
	Certificate, Key []byte // shown to agents
	Broker           string // address
	BrokerRoot       []byte
	Folder           string // its own
	Profile          string
	Driver           postgres.Driver
}

// Serve runs until the process is told to end. It prints the port that it listens on.
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
	compiled, err := policy.Compile(w.Set)
	if err != nil {
		return err
	}
	destination := compiled.Lookup(w.Host, 5432)
	leaf, err := tls.X509KeyPair(w.Certificate, w.Key)
	if err != nil {
		return err
	}
	token := w.Folder + "/token"
	if err := os.WriteFile(token, []byte("bench"), 0o600); err != nil {
		return err
	}
	broker, err := control.New(control.Options{Address: w.Broker, RootPEM: w.BrokerRoot, TokenFile: token, Log: logr.Discard()})
	if err != nil {
		return err
	}
	defer broker.Close()
	spool, err := record.Open(record.Options{Dir: w.Folder + "/spool", Budget: 256 << 20, Uplink: broker, Log: logr.Discard()})
	if err != nil {
		return err
	}
	protocol := postgres.New(postgres.Options{Driver: w.Driver})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if err := resident.ForgetText(); err != nil { // as a sidecar does that has started
		return err
	}
	log := record.LogOptions{Target: destination.Name(), Protocol: string(policy.ProtocolPostgres), OnFailure: policy.Block}
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
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:5432"), Host: w.Host,
				Rules: func() *policy.Destination { return destination },
				Leaf:  func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &leaf, nil },
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "tcp", w.Upstream)
				},
				Credentials: lease(session.Lease{Username: w.User, Password: w.Password}),
				Approvals:   broker, Recorder: spool.Log(log).Recorder(), Log: logr.Discard(),
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
