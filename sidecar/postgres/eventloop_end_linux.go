package postgres

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// serverGone tells the agent that the server has hung up, if that was not to be expected.
func (s *looped) serverGone(err error) {
	if s.over {
		return
	}
	cause := "connection reset"
	if errors.Is(err, io.EOF) {
		cause = "end of file"
	}
	expected := s.core.Ended()
	s.core.Lost(cause)
	if expected {
		s.endOnce(nil)
		return
	}
	s.endOnce(fmt.Errorf("the database server has closed the connection: %s", cause))
}

// gone ends the session because one side takes nothing any more.
func (s *looped) gone(e *end) {
	if e == &s.toAgent {
		s.endOnce(errAgentGone)
		return
	}
	s.endOnce(errors.New("the database server takes nothing any more"))
}

// interrupted ends the session from outside.
func (s *looped) interrupted(cause error) {
	if s.over {
		return
	}
	if s.elsewhere || !s.begun {
		s.cause = cause
		return
	}
	message := "the sidecar is stopping"
	if withdrawing(cause) {
		message = cause.Error()
		s.outlasted = true
	}
	s.core.Fatal("57P01", message)
	// What has not been sent to the server by now never is.
	_, _ = s.core.ToServer(nil)
	s.toServer.forget()
	s.endOnce(errors.New(message))
}

// errBroken is a fault of the sidecar's own.
var errBroken = errors.New("an internal error has ended the session")

// post has the loop do something for the session.
func (s *looped) post(f func()) {
	s.loop.post(func() {
		s.guard(f)
		s.fail()
	})
}

// guard keeps a fault in one session from ending all of the pod's. After one, nothing of the session's is sent, nor
// its core used any more.
func (s *looped) guard(f func()) {
	defer func() {
		if fault := recover(); fault != nil {
			s.broken.Store(true)
			s.session.Log.Error(errBroken, "internal error", "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// fail ends a session that has had a fault.
func (s *looped) fail() {
	if s.broken.Load() && !s.over && s.begun {
		s.toServer.forget()
		s.toAgent.forget()
		s.finish(errBroken)
	}
}

// endOnce leaves the loop, with what the core still has to say.
func (s *looped) endOnce(err error) {
	if s.over {
		return
	}
	if !s.elsewhere {
		s.toSend()
	}
	s.finish(err)
}

func (s *looped) finish(err error) {
	s.over, s.failure = true, err
	if s.stop != nil {
		s.stop()
	}
	delete(s.loop.sessions, s)
	for _, e := range []*end{&s.toAgent, &s.toServer} {
		if e.slot < len(s.loop.ends) && s.loop.ends[e.slot] == e {
			s.loop.leave(e)
		}
	}
	close(s.done)
}

// farewell lets the agent have the last word that the core has for it, and closes both connections. The sockets are
// the runtime's again.
func (s *looped) farewell() {
	if server, err := socketConn(s.toServer.fd); err == nil {
		if s.toServer.secure != nil {
			s.toServer.secure.Close()
		}
		_ = server.SetWriteDeadline(time.Now().Add(farewell))
		s.toServer.rest(server)
		server.Close()
	}
	agent, err := socketConn(s.toAgent.fd)
	if err != nil {
		return
	}
	defer agent.Close()
	_ = agent.SetWriteDeadline(time.Now().Add(farewell))
	e := &s.toAgent
	if e.secure != nil && e.done == len(e.backlog) {
		e.secure.Close() // says so
	}
	if e.rest(agent) && !s.broken.Load() && s.core.Err() != nil {
		linger(agent)
	}
}

// rest writes what is pending.
func (e *end) rest(conn net.Conn) bool {
	for _, p := range [][]byte{e.out[min(e.sent, len(e.out)):], e.memory.out} {
		if len(p) > 0 {
			if _, err := conn.Write(p); err != nil {
				return false
			}
		}
	}
	for e.done < len(e.backlog) {
		p := e.backlog[e.done:]
		if e.secure != nil {
			e.memory.out = e.memory.out[:0]
			p = p[:min(len(p), bufferSize)]
			if _, err := e.secure.Write(p); err != nil {
				return false
			}
			e.done += len(p)
			p = e.memory.out
		} else {
			e.done = len(e.backlog)
		}
		if _, err := conn.Write(p); err != nil {
			return false
		}
	}
	return true
}

// socketConn gives a socket back to the runtime.
func socketConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	return net.FileConn(f)
}
