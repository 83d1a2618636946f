package logs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

const (
	// headerTimeout bounds the reading of a request; there are no bodies.
	headerTimeout = 10 * time.Second
	// answerTimeout bounds an answer: a log of a gigabyte at 2 MB a second.
	answerTimeout = 10 * time.Minute
	// idleTimeout is above the API server's own of 90 s, so that it is the one who closes.
	idleTimeout = 2 * time.Minute
	// stopTimeout is how long readers may finish when the operator stops.
	stopTimeout = 10 * time.Second
)

// Options are what the API serves from. All are required.
type Options struct {
	Archive *archive.Archive
	// Bind is the address to listen on.
	Bind string
	// Certificate is the serving certificate.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Kubernetes reads the API server's own authentication settings; Client asks for SubjectAccessReviews.
	Kubernetes kubernetes.Interface
	Client     client.Client
	Log        logr.Logger
}

// Server is the recordings API. It runs on every replica.
type Server struct {
	options    Options
	frontProxy *frontProxy
	// authenticate is the front proxy's.
	authenticate authenticator.Request
	// may says whether a user may read a recording.
	may      func(ctx context.Context, user authenticationv1.UserInfo, a access.Attributes) (bool, string, error)
	listener net.Listener
}

var (
	_ manager.Runnable               = (*Server)(nil)
	_ manager.LeaderElectionRunnable = (*Server)(nil)
)

// New listens; Start serves.
func New(ctx context.Context, o Options) (*Server, error) {
	proxy, err := newFrontProxy(o.Kubernetes)
	if err != nil {
		return nil, err
	}
	if err := proxy.load(ctx); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Bind)
	if err != nil {
		return nil, fmt.Errorf("listening for the recordings API: %w", err)
	}
	return &Server{
		options: o, frontProxy: proxy, authenticate: proxy, listener: listener,
		may: access.Reviewer{Client: o.Client}.May,
	}, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (s *Server) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *Server) Start(ctx context.Context) error {
	go s.frontProxy.watch(ctx)
	server := &http.Server{
		Handler: s.handler(),
		TLSConfig: &tls.Config{
			GetCertificate: s.options.Certificate,
			ClientAuth:     tls.RequestClientCert, // verified against the CA of the day by the front proxy check
			MinVersion:     tls.VersionTLS12,
		},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(s.options.Log.V(1)), slog.LevelInfo),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.ServeTLS(s.listener, "", "") }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serving the recordings API: %w", err)
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping the recordings API: %w", err)
	}
	return nil
}
