package ssh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

// Options are a Protocol's host keys and bounds. Zero durations mean the defaults.
type Options struct {
	// Host is what the sidecar proves itself by to agents.
	Host *trust.HostSigners
	// HandshakeTimeout bounds an agent's version, key exchange and authentication; default 30 s.
	HandshakeTimeout time.Duration
	// ConnectTimeout bounds reaching the target and authenticating there, repeated where the target is too busy;
	// default 20 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long one write may make no progress before the peer counts as gone; default 2 min.
	WriteTimeout time.Duration
	// FlushTimeout bounds how long a command waits for its record to be acknowledged; default 15 s.
	FlushTimeout time.Duration
	// KeepaliveInterval is how long the target may be silent before it is asked for a sign of life, which it has as
	// long again to give; default 1 min.
	KeepaliveInterval time.Duration
	// Scripts interprets scripts, where policies ask for that. Without it none is.
	Scripts *script.Interpreter
}

// Protocol implements session.Protocol. It is safe for concurrent use, and one serves all of a pod's connections.
type Protocol struct {
	opts Options
}

var _ session.Protocol = (*Protocol)(nil)

// New returns a Protocol. Options.Host must be set.
func New(opts Options) *Protocol {
	fill := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	fill(&opts.HandshakeTimeout, 30*time.Second)
	fill(&opts.ConnectTimeout, 20*time.Second)
	fill(&opts.WriteTimeout, 2*time.Minute)
	fill(&opts.FlushTimeout, 15*time.Second)
	fill(&opts.KeepaliveInterval, time.Minute)
	return &Protocol{opts: opts}
}

// Serve implements session.Protocol. It closes the agent's connection and the recorder.
func (p *Protocol) Serve(ctx context.Context, s *session.Session) (err error) {
	defer s.Agent.Close()
	defer func() {
		if cerr := s.Recorder.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("closing the recording: %w", cerr)
		}
	}()
	if err := s.Agent.SetDeadline(time.Now().Add(p.opts.HandshakeTimeout)); err != nil {
		return fmt.Errorf("bounding the agent's handshake: %w", err)
	}
	agent, err := p.greet(s)
	if err != nil || agent == nil {
		return err
	}
	defer agent.conn.Close()
	if err := s.Agent.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clearing the handshake's deadline: %w", err)
	}
	return p.serve(ctx, s, agent)
}

// errAgentGone ends what an agent that has hung up still waited for.
var errAgentGone = errors.New("the agent hung up")
