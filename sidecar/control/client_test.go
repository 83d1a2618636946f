package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// broker is a real gRPC server over TLS whose answers a test chooses.
type broker struct {
	controlpb.UnimplementedBrokerServer
	policies func(grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) error
	lease    func(context.Context, *controlpb.LeaseRequest) (*controlpb.LeaseResponse, error)
	approve  func(*controlpb.ApproveRequest, grpc.ServerStreamingServer[controlpb.ApproveResponse]) error
	record   func(grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error
}

func (b *broker) Policies(s grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) error {
	return b.policies(s)
}

func (b *broker) Lease(ctx context.Context, r *controlpb.LeaseRequest) (*controlpb.LeaseResponse, error) {
	return b.lease(ctx, r)
}

func (b *broker) Approve(r *controlpb.ApproveRequest, s grpc.ServerStreamingServer[controlpb.ApproveResponse]) error {
	return b.approve(r, s)
}

func (b *broker) Record(s grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
	return b.record(s)
}

// serve starts b and returns a client of it and the server, to stop it early.
func serve(t *testing.T, b *broker, change ...func(*Options)) (*Client, *grpc.Server) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operator"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
	})))
	controlpb.RegisterBrokerServer(server, b)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("pod-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options := Options{
		Address: "localhost:1", RootPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), TokenFile: token,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
		},
		Version: "test", AskTimeout: time.Second, Log: logr.Discard(),
	}
	for _, c := range change {
		c(&options)
	}
	client, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, server
}

func set(t *testing.T, version string) []byte {
	t.Helper()
	content, err := json.Marshal(policy.Set{Version: version, MaxAgeSeconds: 60, Policies: []policy.Policy{{
		Namespace: "n", Name: "p", Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestFollowBringsSetsInForceAndKeepsTheLastGoodOne(t *testing.T) {
	answers := make(chan *controlpb.PoliciesRequest, 8)
	var bearer atomic.Value
	client, _ := serve(t, &broker{policies: func(s grpc.BidiStreamingServer[controlpb.PoliciesRequest, controlpb.PoliciesResponse]) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		bearer.Store(strings.Join(md.Get("authorization"), ","))
		for _, content := range [][]byte{set(t, "1"), set(t, "2"), []byte(`{"version":"3","policies":[],"restrictMore":true}`), {}} {
			got, err := s.Recv()
			if err != nil {
				return err
			}
			answers <- got
			if err := s.Send(&controlpb.PoliciesResponse{SetJson: content}); err != nil {
				return err
			}
		}
		got, err := s.Recv()
		if err != nil {
			return err
		}
		answers <- got
		<-s.Context().Done()
		return nil
	}})
	dir := t.TempDir()
	policies, err := LoadPolicies(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Current(); !errors.Is(err, ErrNoPolicy) {
		t.Fatalf("before the first set: %v, want ErrNoPolicy", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Follow(ctx, policies) }()

	for i, want := range []string{"", "1", "2", "2", "2"} {
		got := <-answers
		if got.GetHeldVersion() != want {
			t.Errorf("answer %d holds %q, want %q", i, got.GetHeldVersion(), want)
		}
		if hasError := got.GetError() != ""; hasError != (i == 3) {
			t.Errorf("answer %d says error %q", i, got.GetError())
		}
	}
	cancel()
	<-done
	if got := bearer.Load(); got != "Bearer pod-token" {
		t.Errorf("the call carried %q", got)
	}

	again, err := LoadPolicies(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := again.Current(); err != nil || c.Set().Version != "2" {
		t.Errorf("after a restart: %v, want version 2", err)
	}
	late, err := LoadPolicies(dir, func() time.Time { return time.Now().Add(2 * time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Current(); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("past the stated age: %v, want ErrNoPolicy", err)
	}
}

func TestASetThatCannotBePutInForceLetsTheLastOneGrowOld(t *testing.T) {
	now := time.Now()
	policies, err := LoadPolicies(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if err := policies.put(set(t, "1")); err != nil {
		t.Fatal(err)
	}
	now = now.Add(40 * time.Second)
	if err := policies.confirm(); err != nil {
		t.Fatal(err)
	}
	if err := policies.put([]byte(`{"version":"2","policies":[],"restrictMore":true}`)); err == nil {
		t.Fatal("a set with an unknown field is in force")
	}
	now = now.Add(40 * time.Second)
	if err := policies.confirm(); err != nil {
		t.Fatal(err)
	}
	if c, err := policies.Current(); err != nil || c.Set().Version != "1" {
		t.Errorf("within its age: %v", err)
	}
	now = now.Add(40 * time.Second)
	if _, err := policies.Current(); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("80 s after it was last confirmed: %v, want ErrNoPolicy", err)
	}
	if err := policies.put(set(t, "3")); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.Current(); err != nil {
		t.Errorf("a good set again: %v", err)
	}
}

func TestWordsAreBoundedAndOnOneLine(t *testing.T) {
	got := words(status.Error(codes.NotFound, "no\nsuch\x1b[2Jthing "+strings.Repeat("é", maxWords)))
	if strings.ContainsAny(got, "\n\x1b") || len(got) > maxWords+3 || !strings.HasPrefix(got, "no such [2Jthing") {
		t.Errorf("%q", got)
	}
}

func TestALogThatTheOperatorWillNeverTakeSaysSo(t *testing.T) {
	client, _ := serve(t, &broker{record: func(grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
		return status.Error(codes.InvalidArgument, "the log's protocol is unknown")
	}})
	stream, err := client.Open(t.Context(), record.Meta{Log: "ab"})
	if err == nil {
		defer stream.Close()
		_, _, err = stream.Recv()
	}
	if !errors.Is(err, record.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

func TestLoadPoliciesRefusesAFileItCannotUnderstand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, layout.PolicyFile), []byte(`{"version":`), 0o600); err != nil {
		t.Fatal(err)
	}
	policies, err := LoadPolicies(dir, time.Now)
	if err == nil {
		t.Error("no error for half a file")
	}
	if _, err := policies.Current(); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("half a file is in force: %v", err)
	}
}

func TestLease(t *testing.T) {
	var answer atomic.Value
	var asked atomic.Int32
	now := time.Now()
	clock := &now
	client, server := serve(t, &broker{lease: func(context.Context, *controlpb.LeaseRequest) (*controlpb.LeaseResponse, error) {
		asked.Add(1)
		switch a := answer.Load().(type) {
		case error:
			return nil, a
		case string:
			return &controlpb.LeaseResponse{Username: "app", Password: a, NotAfterUnixMs: now.Add(time.Minute).UnixMilli()}, nil
		}
		return nil, status.Error(codes.Internal, "no answer set")
	}}, func(o *Options) { o.Clock = func() time.Time { return *clock } })
	lease := func() (string, error) {
		l, err := client.Lease(t.Context(), "n/p", "db")
		if err != nil {
			return "", err
		}
		return l.Password, nil
	}

	answer.Store("first")
	if got, err := lease(); err != nil || got != "first" {
		t.Fatalf("the first lease: %q, %v", got, err)
	}
	answer.Store("rotated")
	if got, _ := lease(); got != "first" || asked.Load() != 1 {
		t.Errorf("within a moment the operator is asked again: %q, asked %d times", got, asked.Load())
	}
	now = now.Add(leaseFresh)
	if got, _ := lease(); got != "rotated" {
		t.Errorf("a rotated password is not taken by the next connection: %q", got)
	}
	now = now.Add(leaseFresh)
	server.Stop()
	if got, err := lease(); err != nil || got != "rotated" {
		t.Errorf("with the operator away an unexpired lease does not stand: %q, %v", got, err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := lease(); err == nil || !strings.Contains(err.Error(), "operator cannot be reached") {
		t.Errorf("past its end: %v", err)
	}
}

func TestLeaseThatTheOperatorRefusesDropsAnOlderOne(t *testing.T) {
	refuse := false
	now := time.Now()
	client, server := serve(t, &broker{lease: func(context.Context, *controlpb.LeaseRequest) (*controlpb.LeaseResponse, error) {
		if refuse {
			return nil, status.Error(codes.NotFound, "Secret n/db does not exist")
		}
		return &controlpb.LeaseResponse{Password: "x", NotAfterUnixMs: now.Add(time.Hour).UnixMilli()}, nil
	}}, func(o *Options) { o.Clock = func() time.Time { return now } })
	if _, err := client.Lease(t.Context(), "n/p", "db"); err != nil {
		t.Fatal(err)
	}
	refuse, now = true, now.Add(leaseFresh)
	if _, err := client.Lease(t.Context(), "n/p", "db"); err == nil || !strings.Contains(err.Error(), "Secret n/db does not exist") {
		t.Errorf("a refusal reads %v", err)
	}
	server.Stop()
	if _, err := client.Lease(t.Context(), "n/p", "db"); err == nil {
		t.Error("a lease that was withdrawn stands once the operator is away")
	}
}

func TestAwait(t *testing.T) {
	send := func(state controlpb.ApproveResponse_State, message string) *controlpb.ApproveResponse {
		return &controlpb.ApproveResponse{State: state, Request: "apr-1", Message: message, Deciders: []string{"dana"}}
	}
	pending := send(controlpb.ApproveResponse_STATE_PENDING, "")
	var attempts atomic.Int32
	for name, test := range map[string]struct {
		wait    int64
		answers []*controlpb.ApproveResponse
		end     error
		again   []*controlpb.ApproveResponse
		want    error
		says    string
	}{
		"an approval is a grant with who gave it": {
			wait: 5, answers: []*controlpb.ApproveResponse{pending, send(controlpb.ApproveResponse_STATE_APPROVED, "")}},
		"a denial carries its reason": {
			wait: 5, answers: []*controlpb.ApproveResponse{pending, send(controlpb.ApproveResponse_STATE_DENIED, "not on a Friday")},
			want: session.ErrDenied, says: "not on a Friday"},
		"an expiry says so": {
			wait: 5, answers: []*controlpb.ApproveResponse{pending, send(controlpb.ApproveResponse_STATE_EXPIRED, "nobody decided")},
			want: session.ErrExpired, says: "apr-1"},
		"without a wait a pending request is told at once": {
			wait: 0, answers: []*controlpb.ApproveResponse{pending}, want: session.ErrPending, says: "apr-1"},
		"a wait that runs out names the request": {
			wait: 1, answers: []*controlpb.ApproveResponse{pending, nil}, want: session.ErrPending, says: "apr-1"},
		"an operator that restarts meanwhile is asked again": {
			wait: 5, answers: []*controlpb.ApproveResponse{pending}, end: status.Error(codes.Unavailable, "stopping"),
			again: []*controlpb.ApproveResponse{pending, send(controlpb.ApproveResponse_STATE_APPROVED, "")}},
		"a refusal to file fails closed with the operator's words": {
			wait: 5, end: status.Error(codes.ResourceExhausted, "20 requests of this pod are pending"),
			want: session.ErrUnavailable, says: "20 requests"},
		"a state that is not known fails closed": {
			wait: 5, answers: []*controlpb.ApproveResponse{send(99, "")}, want: session.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			attempts.Store(0)
			client, _ := serve(t, &broker{approve: func(r *controlpb.ApproveRequest, s grpc.ServerStreamingServer[controlpb.ApproveResponse]) error {
				answers := test.answers
				if attempts.Add(1) > 1 && test.again != nil {
					answers = test.again
				}
				for _, a := range answers {
					if a == nil {
						<-s.Context().Done()
						return nil
					}
					if err := s.Send(a); err != nil {
						return err
					}
				}
				return test.end
			}})
			var told []string
			grant, err := client.Await(t.Context(), session.Ask{Verdict: policy.Verdict{
				Policy: "n/p", Rule: "r", Approval: &policy.Approval{Required: 1, WaitSeconds: test.wait},
			}}, func(request string) { told = append(told, request) })
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %q does not say %q", err, test.says)
			}
			if err == nil && (grant.Request != "apr-1" || len(grant.Deciders) != 1) {
				t.Errorf("grant %+v", grant)
			}
			if len(test.answers) > 0 && (len(told) != 1 || told[0] != "apr-1") {
				t.Errorf("told %q, want apr-1 once", told)
			}
		})
	}
}

func TestAwaitFailsClosedWhenTheOperatorIsAway(t *testing.T) {
	client, server := serve(t, &broker{})
	server.Stop()
	_, err := client.Await(t.Context(), session.Ask{Verdict: policy.Verdict{Approval: &policy.Approval{WaitSeconds: 60}}}, nil)
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

func TestUplinkCarriesALogAndItsAcknowledgements(t *testing.T) {
	client, _ := serve(t, &broker{record: func(s grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
		open, err := s.Recv()
		if err != nil {
			return err
		}
		if open.GetOpen().GetLog() != "ab" || open.GetOpen().GetStartUnixMs() != 5000 {
			return status.Error(codes.InvalidArgument, "not the log that was opened")
		}
		if err := s.Send(&controlpb.RecordResponse{Next: 0, Recording: "rec-1"}); err != nil {
			return err
		}
		chunk, err := s.Recv()
		if err != nil {
			return err
		}
		if string(chunk.GetChunk().GetPayload()) != "payload" || chunk.GetChunk().GetCounts().GetRows() != 7 {
			return status.Error(codes.InvalidArgument, "not the chunk that was sent")
		}
		return s.Send(&controlpb.RecordResponse{Next: 1, Recording: "rec-1"})
	}})
	stream, err := client.Open(t.Context(), record.Meta{Log: "ab", Start: time.UnixMilli(5000)})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if next, name, err := stream.Recv(); err != nil || next != 0 || name != "rec-1" {
		t.Fatalf("after open: %d %q %v", next, name, err)
	}
	if err := stream.Send(record.Chunk{Payload: []byte("payload"), Counts: record.Counts{Rows: 7}}); err != nil {
		t.Fatal(err)
	}
	if next, _, err := stream.Recv(); err != nil || next != 1 {
		t.Fatalf("after a chunk: %d %v", next, err)
	}
}
