package kube

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// end is one side's connection. Writes come from several goroutines.
type end struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
	mu      sync.Mutex // orders writes, and guards frame
	frame   []byte
}

func newEnd(conn net.Conn, r *bufio.Reader, timeout time.Duration) *end {
	return &end{conn: conn, r: r, timeout: timeout}
}

func (e *end) send(p []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sendLocked(p)
}

// build sends what is appended to the end's buffer, in one write.
func (e *end) build(appending func(dst []byte) ([]byte, error)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	if e.frame, err = appending(e.frame[:0]); err != nil {
		return err
	}
	return e.sendLocked(e.frame)
}

func (e *end) sendLocked(p []byte) error {
	_ = e.conn.SetWriteDeadline(time.Now().Add(e.timeout))
	_, err := e.conn.Write(p)
	return err
}

// relay is an upgraded exchange: both connections, with a goroutine for each way. What one side does not take, the other
// one's connection is not read for.
type relay struct {
	x         *exchange
	result    *record.Event
	agent, up *end

	mu     sync.Mutex // guards failed
	failed string
}

// streams are what a relay's two ways do: each returns at the end of what it reads, or at an error.
type streams interface {
	// upwards hands on what the agent sends.
	upwards() error
	// downwards hands on what the API server sends.
	downwards() error
	// say tells the agent why everything ends, where its protocol has room for that.
	say(message string)
	// finish hands on what was held back, and closes what was recorded.
	finish(failed string)
}

// lingering is how long an agent has to take what it was sent last.
const lingering = 5 * time.Second

var errPeerClosed = errors.New("the connection was closed")

// serve relays until either side ends.
func (r *relay) serve(up *upgrading, granted *session.Grant) {
	s, err := r.streams(up, granted)
	if err != nil {
		r.fail(err)
		r.result.Error = r.failed
		return
	}
	ctx := r.x.r.Context()
	stop := context.AfterFunc(ctx, func() {
		switch {
		case r.x.ctx.Err() != nil:
			r.fail(errors.New("the session was ended by the sidecar"))
		default:
			r.fail(context.Cause(ctx))
		}
		s.say(r.failure())
		r.up.conn.Close()
		_ = r.agent.conn.SetReadDeadline(time.Now().Add(lingering))
	})
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.upwards(); err != nil && !ended(err) {
			r.fail(err)
			s.say(err.Error())
		}
		// An agent that is gone wants nothing more.
		r.up.conn.Close()
	}()
	if err := s.downwards(); err != nil && !ended(err) {
		r.fail(err)
		s.say(err.Error())
	}
	failed := r.failure()
	s.finish(failed)
	r.up.conn.Close()
	r.hangUp(done)
	r.result.Error = failed
}

// hangUp closes the agent's connection once it has taken what it was sent: closed at once, what is under way could be
// lost with it.
func (r *relay) hangUp(done <-chan struct{}) {
	if c, ok := r.agent.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = r.agent.conn.SetReadDeadline(time.Now().Add(lingering))
	<-done
	_, _ = io.Copy(io.Discard, io.LimitReader(r.agent.r, 1<<20))
	r.agent.conn.Close()
}

// ended tells whether the error is how a connection ends.
func ended(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errPeerClosed) ||
		errors.As(err, &netErr)
}

func (r *relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == "" {
		r.failed = err.Error()
	}
}

func (r *relay) failure() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// streams makes what speaks the protocol that was agreed on.
func (r *relay) streams(up *upgrading, granted *session.Grant) (streams, error) {
	if r.x.request.Forward {
		switch {
		case up.chosen == tunnelled:
			agent := newSocket(r.agent, true, false)
			upstream := newSocket(r.up, false, false)
			agent.control, upstream.control = upstream.frame, agent.frame
			return newSPDYForward(r, granted, newSPDYEnd(newTunnel(agent)), newSPDYEnd(newTunnel(upstream))), nil
		case up.socket:
			return newSocketForward(r, up), nil
		}
		return newSPDYForward(r, granted, newSPDYEnd(r.agent), newSPDYEnd(r.up)), nil
	}
	p, err := r.newProgram()
	if err != nil {
		return nil, err
	}
	if up.socket {
		return newSocketExec(r, p, up), nil
	}
	return newSPDYExec(r, p), nil
}
