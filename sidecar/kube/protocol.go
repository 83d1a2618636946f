package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Options are a Protocol's bounds and files. Zero values mean the defaults.
type Options struct {
	// TokenFile and CAFile are the pod's own service account token and the API server's root; defaults as in layout.
	TokenFile, CAFile string
	// HandshakeTimeout bounds an agent's TLS, and a request's headers; default 30 s.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long a connection without a request stays open; default 5 min, more than clients keep one.
	IdleTimeout time.Duration
	// ConnectTimeout bounds reaching the API server; default 20 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long one write to the agent may make no progress; default 2 min. What the API server does not take is
	// waited for without limit.
	WriteTimeout time.Duration
	// FlushTimeout bounds how long a command waits for its record to be acknowledged; default 15 s.
	FlushTimeout time.Duration
}

// Protocol implements session.Protocol. It is safe for concurrent use, and one serves all of a pod's sessions, which
// share its connections upstream.
type Protocol struct {
	opts      Options
	account   account
	upstreams upstreams
	// granted is what people granted to the pod for a time.
	granted  grants
	refusals refusals
	compiled compiledRules
}

var _ session.Protocol = (*Protocol)(nil)

// New returns a Protocol.
func New(opts Options) *Protocol {
	fill := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	fill(&opts.HandshakeTimeout, 30*time.Second)
	fill(&opts.IdleTimeout, 5*time.Minute)
	fill(&opts.ConnectTimeout, 20*time.Second)
	fill(&opts.WriteTimeout, 2*time.Minute)
	fill(&opts.FlushTimeout, 15*time.Second)
	if opts.TokenFile == "" {
		opts.TokenFile = layout.IdentityPath + "/" + layout.KubeTokenFile
	}
	if opts.CAFile == "" {
		opts.CAFile = layout.IdentityPath + "/" + layout.KubeCAFile
	}
	return &Protocol{opts: opts, account: account{tokenFile: opts.TokenFile, caFile: opts.CAFile}}
}

// maxHeader bounds a request's header. The longest part of it is an exec's command, in the request line.
const maxHeader = 256 << 10

// parting is how long requests that the sidecar ends have to tell their agent.
const parting = 2 * time.Second

// connection is one connection of an agent.
type connection struct {
	*Protocol
	session *session.Session
	// ctx ends with the session.
	ctx context.Context //nolint:containedctx // handlers have their requests' contexts; this is the session's own
	// handling are requests under way; the recording is closed behind them.
	handling sync.WaitGroup
	commands commandNumbers
	access   grants
	began    time.Time
	// audited are the demands for access of policies in Audit that are in the recording.
	audited map[string]bool
	// greeted is set once the connection is in the recording; requests of one connection come one after another.
	greeted bool
}

// Serve implements session.Protocol. It closes the agent's connection and the recorder.
func (p *Protocol) Serve(ctx context.Context, s *session.Session) (err error) {
	defer s.Agent.Close()
	defer func() {
		if cerr := s.Recorder.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("closing the recording: %w", cerr)
		}
	}()
	agent := tls.Server(s.Agent, &tls.Config{
		GetCertificate: s.Leaf, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		SessionTicketsDisabled: true, // their key is this connection's alone, so that none could be used
		// No hybrid with ML-KEM: this leg stays within the pod, where nobody keeps traffic for a later decryption.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
	})
	greeting, done := context.WithTimeout(ctx, p.opts.HandshakeTimeout)
	err = agent.HandshakeContext(greeting)
	done()
	if err != nil {
		_ = s.Recorder.Record(record.Event{Kind: record.KindConnect, Protocol: string(policy.ProtocolKubernetes), Peer: s.Original.String()})
		_ = s.Recorder.Record(record.Event{Kind: record.KindDisconnect, Error: "the agent's TLS: " + err.Error()})
		return fmt.Errorf("the agent's TLS: %w", err)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	c := &connection{Protocol: p, session: s, ctx: ctx, began: time.Now()}
	c.serve(agent)
	return nil
}

// serve answers requests until the connection ends.
func (c *connection) serve(agent net.Conn) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:           http.HandlerFunc(c.handle),
		ReadHeaderTimeout: c.opts.HandshakeTimeout,
		IdleTimeout:       c.opts.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         protocols,
		BaseContext:       func(net.Listener) context.Context { return c.ctx },
		ErrorLog:          log.New(mishaps{c.session}, "", 0),
	}
	only := &onlyConn{Conn: agent, closed: make(chan struct{})}
	// What goes on has a moment to say why it ends; a session of a pod closes its connection itself.
	stop := context.AfterFunc(c.ctx, func() {
		moment, done := context.WithTimeout(context.Background(), parting)
		defer done()
		if server.Shutdown(moment) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	_ = server.Serve(&onlyListener{conn: only, closed: make(chan struct{})}) // ends when the connection does
	c.handling.Wait()
}

// mishaps takes the HTTP server's own log. What agents send wrong is answered or ends their connection, and is nothing
// for the sidecar's log; a panic is.
type mishaps struct{ session *session.Session }

func (m mishaps) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic")) {
		m.session.Log.Error(errors.New("a request was given up"), string(line))
	}
	return len(line), nil
}

// onlyConn says when it is closed.
type onlyConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *onlyConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// CloseWrite ends what is sent, and leaves what is received.
func (c *onlyConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// onlyListener accepts one connection, and ends once that is closed or the listener is.
type onlyListener struct {
	conn     *onlyConn
	accepted bool
	once     sync.Once
	closed   chan struct{}
}

func (l *onlyListener) Accept() (net.Conn, error) {
	if l.accepted {
		select {
		case <-l.conn.closed:
		case <-l.closed:
		}
		return nil, net.ErrClosed
	}
	l.accepted = true
	return l.conn, nil
}

func (l *onlyListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *onlyListener) Addr() net.Addr { return l.conn.LocalAddr() }

var errAgentGone = errors.New("the agent hung up")
