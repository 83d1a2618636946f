package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

// +kubebuilder:rbac:groups=chaperone.dev,resources=agentpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=chaperone.dev,resources=approvalrequests;sessionrecordings,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=chaperone.dev,resources=approvalrequests/status;sessionrecordings/status,verbs=get;update;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

const (
	// maxMessage is a chunk (record.MaxPayload is below 512 KiB) with room for its fields.
	maxMessage = 1 << 20
	// maxStreams of one connection: a sidecar has a policies stream, a log a target, and waiting approvals.
	maxStreams = 128
	// handshake bounds the time until a connection's TLS and HTTP/2 preface are there.
	handshake = 10 * time.Second
	// maxAge makes sidecars connect again, so that replicas share them evenly after one was replaced.
	maxAge = 4 * time.Hour
	// grace is how long calls may take to end when the operator is told to stop.
	grace = 10 * time.Second
)

// Options are what a Broker works with. All are required unless it says otherwise.
type Options struct {
	// Client reads from the cache and writes; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Informers are the cache that Client reads from.
	Informers cache.Informers
	// Listen is the address served, host:port.
	Listen string
	// Certificate is the serving certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Guard says what is wrong with a live pod: a *guard.Refusal refuses it, another error is the operator's own.
	Guard func(context.Context, *corev1.Pod) error
	Sets  *Sets
	// DecisionKey authenticates decisions.
	DecisionKey []byte
	Archive     *archive.Archive
	Presence    *presence.Registry
	Events      events.EventRecorder
	// LeaseDuration bounds new use of a leased credential.
	LeaseDuration time.Duration
	Clock         clock.WithTicker
	Log           logr.Logger
}

// Broker serves the sidecars. It runs on every replica.
type Broker struct {
	controlpb.UnimplementedBrokerServer
	Options

	reviews     *reviews
	connections *connections
	guarded     *guarded
	allowances  *allowances
	owners      *owners
	requests    *requests
	writers     *writers
	statuses    *statuses

	closing   chan struct{} // closed when the operator stops
	listening atomic.Pointer[net.TCPAddr]
}

// New returns a Broker that serves once it is started.
func New(o Options) *Broker {
	return &Broker{
		Options:     o,
		reviews:     newReviews(o.Client, o.Clock, o.Log),
		connections: newConnections(),
		guarded:     newGuarded(o.Guard, o.Clock),
		allowances:  newAllowances(o.Clock),
		owners:      newOwners(o.Live, o.Clock),
		requests: &requests{
			client: o.Client, reader: o.Live, key: o.DecisionKey, clock: o.Clock, events: o.Events, follower: newFollower(),
		},
		writers:  &writers{active: map[logKey]*writer{}},
		statuses: newStatuses(o.Client, o.Clock, o.Log),
		closing:  make(chan struct{}),
	}
}

// NeedLeaderElection says that every replica serves.
func (b *Broker) NeedLeaderElection() bool { return false }

// Address is where the broker listens; nil before it does.
func (b *Broker) Address() *net.TCPAddr { return b.listening.Load() }

// Waited tells whether a command waits at this replica for the request to be decided.
func (b *Broker) Waited(request types.NamespacedName) bool { return b.requests.watched(request) }

// Ready is a health check.
func (b *Broker) Ready() error {
	if b.Address() == nil {
		return errors.New("the broker does not listen yet")
	}
	return nil
}

// Start serves until ctx ends: sidecars are then told to connect again, and what was received is brought to an end.
func (b *Broker) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", b.Listen)
	if err != nil {
		return fmt.Errorf("listening for sidecars: %w", err)
	}
	server := b.server()
	b.listening.Store(listener.Addr().(*net.TCPAddr))
	defer b.listening.Store(nil)
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return b.Sets.Start(running, b.Informers) })
	group.Go(func() error { return b.requests.start(running, b.Informers) })
	statuses, stopStatuses := context.WithCancel(context.WithoutCancel(ctx))
	var written sync.WaitGroup
	written.Go(func() { b.statuses.run(statuses) })
	group.Go(func() error {
		<-running.Done()
		close(b.closing)
		done := make(chan struct{})
		go func() { server.GracefulStop(); close(done) }()
		select {
		case <-done:
		case <-time.After(grace):
			server.Stop()
		}
		return nil
	})
	group.Go(func() error {
		b.Log.Info("serving sidecars", "address", listener.Addr().String())
		if err := server.Serve(b.connections.limit(listener)); err != nil {
			return fmt.Errorf("serving sidecars: %w", err)
		}
		return nil
	})
	err = group.Wait()
	stopStatuses()
	written.Wait()
	return err
}

func (b *Broker) server() *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: b.Certificate})),
		grpc.ChainUnaryInterceptor(b.recoverUnary, b.unary),
		grpc.ChainStreamInterceptor(b.recoverStream, b.stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshake),
		grpc.MaxHeaderListSize(32<<10),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     15 * time.Minute,
			MaxConnectionAge:      maxAge,
			MaxConnectionAgeGrace: time.Hour, // as long as approvals are commonly waited for
			Time:                  30 * time.Second,
			Timeout:               20 * time.Second,
		}),
	)
	controlpb.RegisterBrokerServer(server, b)
	return server
}

// A fault that one pod meets must not end the streams of the others.
func (b *Broker) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = b.recovered(info.FullMethod, p)
		}
	}()
	return next(ctx, req)
}

func (b *Broker) recoverStream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = b.recovered(info.FullMethod, p)
		}
	}()
	return next(srv, s)
}

func (b *Broker) recovered(method string, p any) error {
	b.Log.Error(fmt.Errorf("panic: %v", p), "serving a sidecar", "method", method, "stack", string(debug.Stack()))
	return status.Error(codes.Internal, "the operator met an internal error")
}
