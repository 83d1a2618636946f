package kube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// end is one side's connection. Writes come from several goroutines.
type end struct {
	conn net.Conn
	r    *bufio.Reader
	// timeout is how long one write may make no progress; 0: without limit.
	timeout time.Duration
	mu      sync.Mutex // orders writes, and guards frame
	frame   []byte
	deaf    atomic.Bool // the peer takes no more, and may have said something before
	// writes counts beginnings and ends of writes: it is odd while there is one.
	writes atomic.Uint64

	deadlines sync.Mutex // guards until, and orders deadlines; mu is held for as long as a write takes
	until     time.Time  // when the last write has to be over, if there is one
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
	e.deadlines.Lock()
	at := e.until
	if at.IsZero() && e.timeout > 0 {
		at = time.Now().Add(e.timeout)
	}
	if !at.IsZero() {
		_ = e.conn.SetWriteDeadline(at)
	}
	e.deadlines.Unlock()
	e.writes.Add(1)
	_, err := e.conn.Write(p)
	e.writes.Add(1)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		e.deaf.Store(true)
	}
	return err
}

// hurry gives all that is still written to the peer a moment, a write under way too.
func (e *end) hurry(moment time.Duration) {
	e.deadlines.Lock()
	defer e.deadlines.Unlock()
	e.until = time.Now().Add(moment)
	_ = e.conn.SetWriteDeadline(e.until)
}

// relay is an upgraded exchange: both connections, with a goroutine for each way. What one side does not take, the other
// one's connection is not read for.
type relay struct {
	x         *exchange
	result    *record.Event
	agent, up *end

	mu     sync.Mutex // guards what follows
	failed string
	told   string // what the agent is to be told at the end
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
	stop := context.AfterFunc(ctx, func() { r.cut(interruption(ctx)) })
	defer stop()
	defer r.attend()()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.contained(s.upwards); err != nil && !ended(err) {
			r.cut(err)
		}
		if r.up.deaf.Load() {
			// A program that ended reads no input any more. How it ended is still to be read from the API server.
			_, _ = io.Copy(io.Discard, r.agent.r)
		}
		// An agent that is gone wants nothing more.
		r.up.conn.Close()
	}()
	if err := s.downwards(); err != nil && !ended(err) {
		r.cut(err)
	}
	r.up.conn.Close()
	if told := r.telling(); told != "" {
		s.say(told)
	}
	s.finish(r.failure())
	r.hangUp(done)
	if failed := r.failure(); failed != "" {
		r.result.Error = failed
	}
}

// cut ends both ways. Nothing more reaches the API server from now on, whether or not the agent reads; it has a moment
// to take what it is told.
func (r *relay) cut(why error) {
	r.fail(why)
	r.mu.Lock()
	if r.told == "" {
		r.told = why.Error()
	}
	r.mu.Unlock()
	r.agent.hurry(lingering)
	_ = r.agent.conn.SetReadDeadline(time.Now().Add(lingering))
	r.up.conn.Close()
}

// heard is what becomes of what was read upstream. Closing that connection makes the API server end the session in its own
// way, which must not come before the words that the agent is to be told: it would be taken for a good end.
func (r *relay) heard(err error) error {
	if err == nil && r.telling() != "" {
		return errPeerClosed
	}
	return err
}

// unlessCut does the same for the control frames of a WebSocket.
func (r *relay) unlessCut(control func(websocket.Opcode, []byte) error) func(websocket.Opcode, []byte) error {
	return func(op websocket.Opcode, payload []byte) error {
		if err := r.heard(nil); err != nil {
			return err
		}
		return control(op, payload)
	}
}

func (r *relay) telling() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
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

// contained runs one way of a session. A fault in it ends that session: without this it would end the sidecar, and every
// session of the pod with it. The other way runs in a handler of net/http, which does the same.
func (r *relay) contained(way func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			r.x.session.Log.Error(fmt.Errorf("%v", fault), "a session was given up", "stack", string(debug.Stack()))
			err = errFault
		}
	}()
	return way()
}

var errFault = errors.New("an internal error ended the session")

// ended tells whether the error is how a connection ends.
func ended(err error) bool {
	var netErr net.Error
	var unrecorded *stream.RecordingError
	if errors.As(err, &unrecorded) {
		return false // whatever the connection of the recording ended by
	}
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
			agent.control, upstream.control = upstream.frame, r.unlessCut(agent.frame)
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
