package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

const (
	// bufferSize is small because one connection mostly waits; the default is 32 KiB for each direction.
	bufferSize = 4 << 10
	// maxMessage bounds what the broker sends: a policy set with the roots and known hosts of its targets. One
	// AgentPolicy is at most 1.5 MiB in etcd.
	maxMessage = 16 << 20
	// maxToken bounds the token file; a projected token has 1 to 2 KiB.
	maxToken = 16 << 10

	// askTimeout is long enough for an operator that is elected just now.
	askTimeout = 10 * time.Second

	keepaliveTime    = 45 * time.Second
	keepaliveTimeout = 15 * time.Second
)

// Options say how to reach the broker.
type Options struct {
	// Address is host:port of the broker's service; the host is the name that its certificate is verified for.
	Address string
	// RootPEM holds the operator's root certificates.
	RootPEM []byte
	// TokenFile holds the projected token; the kubelet renews it, so it is read for every call.
	TokenFile string
	// Dial connects to host:port by the noted nameservers. Default: the system's resolver.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Version is the sidecar's own.
	Version string
	// AskTimeout bounds an ask for approval until it has a request's name. Default 10 s.
	AskTimeout time.Duration
	// Clock is what leases end by. Default time.Now.
	Clock func() time.Time
	Log   logr.Logger
}

// Client speaks to the broker. It is safe for concurrent use.
type Client struct {
	options Options
	conn    *grpc.ClientConn
	broker  controlpb.BrokerClient
	leases  leases
	roles   roles
}

// New makes a client; it connects with the first call.
func New(o Options) (*Client, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("the broker's address: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.RootPEM) {
		return nil, errors.New("the operator's root certificate is missing or not PEM")
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	if o.AskTimeout == 0 {
		o.AskTimeout = askTimeout
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	conn, err := grpc.NewClient("passthrough:///"+o.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13})),
		grpc.WithPerRPCCredentials(token(o.TokenFile)),
		grpc.WithContextDialer(o.Dial),
		// An agent's environment is not ours, but a pod's may name a proxy for everybody.
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		// The policy stream is always there while it can be.
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 250 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("making the broker's client: %w", err)
	}
	return &Client{
		options: o, conn: conn, broker: controlpb.NewBrokerClient(conn),
		leases: leases{held: make(map[leaseKey]*held)},
	}, nil
}

// Close ends all calls.
func (c *Client) Close() error { return c.conn.Close() }

// token is a file that is read for every call.
type token string

var _ credentials.PerRPCCredentials = token("")

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	f, err := os.Open(string(t))
	if err != nil {
		return nil, fmt.Errorf("reading the sidecar's token: %w", err)
	}
	defer f.Close()
	buf := make([]byte, maxToken)
	n, err := f.Read(buf)
	if err != nil {
		return nil, fmt.Errorf("reading the sidecar's token from %s: %w", string(t), err)
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(buf[:n]))}, nil
}

// RequireTransportSecurity keeps the token off connections without TLS.
func (token) RequireTransportSecurity() bool { return true }
