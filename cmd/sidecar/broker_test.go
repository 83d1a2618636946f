package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

const brokerHost = "chaperone-broker.chaperone-system.svc"

// broker is a real gRPC server over TLS outside the pod that hands out sets and keeps what is recorded.
type broker struct {
	controlpb.UnimplementedBrokerServer
	certificate tls.Certificate
	server      *grpc.Server

	mu     sync.Mutex
	set    []byte
	update chan struct{} // closed at every change
	held   string
	events []record.Event
	ended  bool // a log came to its end
}

// newBroker makes the broker and its name, and tells the pod of both. It does not listen yet.
func (c *container) newBroker() *broker {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{brokerHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, layout.EnvBrokerCA+"="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	names := &netlab.Nameserver{Zone: netlab.Zone{
		brokerHost + ".cluster.local": {"A " + netlab.Host4.String()},
		"api.llm.example":             {"A " + netlab.Other4.String()},
	}}
	c.Outside(c.t, func() error { names.Start(c.t, netlab.Node4.String(), 53); return nil })
	return &broker{certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, update: make(chan struct{})}
}

// serve listens until the test ends or stop is called.
func (b *broker) serve(c *container) {
	c.t.Helper()
	b.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{b.certificate}, MinVersion: tls.VersionTLS13})))
	controlpb.RegisterBrokerServer(b.server, b)
	c.Outside(c.t, func() error {
		l, err := net.Listen("tcp", address(netlab.Host4, 443))
		if err != nil {
			return err
		}
		go func() { _ = b.server.Serve(l) }()
		return nil
	})
	c.t.Cleanup(b.server.Stop)
}

func (b *broker) stop() { b.server.Stop() }

// publish hands out the set.
func (b *broker) publish(t *testing.T, set policy.Set) {
	t.Helper()
	content, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = content
	close(b.update)
	b.update = make(chan struct{})
}

func (b *broker) Policies(s grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer pod-token" {
		return status.Error(codes.Unauthenticated, "no token")
	}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.held = m.GetHeldVersion()
			b.mu.Unlock()
		}
	}()
	for {
		b.mu.Lock()
		set, update := b.set, b.update
		b.mu.Unlock()
		if set != nil {
			if err := s.Send(&controlpb.PoliciesResponse{SetJson: set}); err != nil {
				return err
			}
		}
		select {
		case <-update:
		case <-s.Context().Done():
			return nil
		}
	}
}

func (b *broker) Record(s grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
	var chain record.Verifier
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if in := m.GetChunk(); in != nil {
			chunk := &record.Chunk{Number: in.GetNumber(), Previous: in.GetPrevious(), Hash: in.GetHash(), Payload: in.GetPayload(), Last: in.GetLast()}
			if err := chain.Add(chunk); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			var events []record.Event
			for e, err := range record.Events(chunk.Payload) {
				if err != nil {
					return status.Error(codes.InvalidArgument, err.Error())
				}
				events = append(events, e)
			}
			b.mu.Lock()
			b.events = append(b.events, events...)
			b.ended = b.ended || chunk.Last
			b.mu.Unlock()
		}
		if err := s.Send(&controlpb.RecordResponse{Next: chain.Next(), Recording: "rec"}); err != nil {
			return err
		}
	}
}

func (b *broker) holds(version string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held == version
}

func (b *broker) recorded(match func(record.Event) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if match(e) {
			return true
		}
	}
	return false
}

func (b *broker) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}
