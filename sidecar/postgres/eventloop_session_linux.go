package postgres

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
)

// looped is a session in an event loop. Its fields are the loop's, and once done is closed those of the
// session's own goroutine again.
type looped struct {
	*driver
	loop              *eventLoop
	toAgent, toServer end
	agentConn         net.Conn // what the ends were made of
	serverConn        net.Conn

	// elsewhere says that a goroutine has the core: nothing is done with it meanwhile, but what comes is noted.
	elsewhere  bool
	begun      bool  // it is in the loop
	asking     bool  // people, or
	flushing   bool  // for an acknowledgement
	hungUp     bool  // the agent, while something is still to be done with what it said
	cause      error // why it was interrupted while a goroutine had the core, or before it began
	outlasted  bool  // the time is over that the session was granted for
	looking    bool  // watchTime is in after
	broken     atomic.Bool
	after      []func()
	slow       sync.WaitGroup
	done       chan struct{}
	context    context.Context //nolint:containedctx // the session's own, for what goroutines do in its name
	endContext context.CancelFunc
}

// adopt makes the session one of the event loop's, where its connections have sockets. It has to be called before the
// agent can cancel.
func (p *Protocol) adopt(d *driver, agent, server net.Conn) *looped {
	if a, _, _ := under(agent); a == nil {
		return nil
	}
	if s, _, _ := under(server); s == nil {
		return nil
	}
	return &looped{driver: d, loop: &p.loop, agentConn: agent, serverConn: server, done: make(chan struct{})}
}

// run runs the session until either side ends it. It returns nil when that was by its own wish.
func (s *looped) run(ctx context.Context) error {
	defer s.forget()
	s.context, s.endContext = context.WithCancel(ctx)
	defer s.endContext()
	early, err := s.detach()
	if err != nil {
		close(s.done)
		return fmt.Errorf("handing the session to the event loop: %w", err)
	}
	s.post(func() { s.begin(early) })
	unhook := context.AfterFunc(ctx, func() { s.post(func() { s.interrupted(context.Cause(ctx)) }) })
	defer unhook()
	<-s.done
	s.endContext()
	s.slow.Wait()
	if s.outlasted {
		s.slow.Go(s.withdraw)
	}
	s.farewell()
	s.slow.Wait()
	if s.broken.Load() {
		return errBroken
	}
	s.core.Close(s.failure)
	if s.failure == nil {
		return s.core.Err()
	}
	return s.failure
}

// detach takes both sockets from the runtime.
func (s *looped) detach() (early []byte, err error) {
	dup := func(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }
	one := func(e *end, conn net.Conn) (early []byte, err error) {
		t, secure, early := under(conn)
		if secure == nil { // received with the start-up packet, in clear
			early, t.in = append(early, t.in...), nil
		}
		e.session, e.secure, e.memory = s, secure, t
		e.fd, err = t.detach(dup)
		return early, err
	}
	if early, err = one(&s.toAgent, s.agentConn); err != nil {
		return nil, err
	}
	if _, err = one(&s.toServer, s.serverConn); err != nil {
		unix.Close(s.toAgent.fd)
	}
	return early, err
}

// begin enters the loop.
func (s *looped) begin(early []byte) {
	s.loop.sessions[s] = struct{}{}
	s.begun = true
	for _, e := range []*end{&s.toAgent, &s.toServer} {
		if err := s.loop.watch(e); err != nil {
			s.finish(fmt.Errorf("watching a socket: %w", err))
			return
		}
	}
	if s.toAgent.secure != nil { // what came with the end of the handshake
		more, err := s.loop.decrypt(&s.toAgent)
		early = append(early, more...)
		if err != nil {
			s.finish(nil)
			return
		}
	}
	s.ahead = early
	if s.core.LimitsTime() {
		s.loop.watchTime()
	}
	s.resume()
}

// resume goes on after a time in which others had the core, or nobody.
func (s *looped) resume() {
	if s.cause != nil {
		s.interrupted(s.cause)
		return
	}
	for len(s.after) > 0 {
		f := s.after[0]
		s.after = s.after[1:]
		if f(); s.over || s.elsewhere {
			return
		}
	}
	s.settle()
}

// event handles what epoll says of an end.
func (s *looped) event(e *end, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		s.loop.push(e)
	}
	switch {
	case events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0:
	case e.interest&unix.EPOLLIN == 0 && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0:
		// Both directions are closed, while nothing is to be read from here.
		if e == &s.toAgent {
			s.gone(e)
			return
		}
		s.loop.rest(e)
		e.forget()
	case e.interest&unix.EPOLLIN == 0:
	case e == &s.toAgent:
		s.fromAgent()
	default:
		s.fromServer()
	}
	if !s.over && !s.elsewhere {
		s.settle()
	}
}

func (s *looped) fromAgent() {
	p, err := s.loop.receive(&s.toAgent)
	switch {
	case s.asking:
		s.ahead = append(s.ahead, p...)
		if err != nil {
			s.hungUp = true
			s.loop.rest(&s.toAgent)
			s.stop()
		}
		return
	case len(p) > 0:
		s.take(p)
	}
	switch {
	case err == nil:
	case s.elsewhere || s.core.Wait() != wire.WaitNone: // its last words come first
		s.hungUp = true
		s.loop.rest(&s.toAgent)
	default:
		s.endOnce(nil)
	}
}

// take hands the agent's bytes to the core.
func (s *looped) take(p []byte) {
	if !s.core.HeavyAgent(len(p)) {
		s.core.RecordLater()
		s.core.Agent(p)
		s.toSend()
		s.core.RecordNow()
		return
	}
	p = append([]byte(nil), p...)
	s.apart(func() { s.core.Agent(p) })
}

func (s *looped) fromServer() {
	p, err := s.loop.receive(&s.toServer)
	s.loop.gather(&s.toServer, len(p))
	lost := func() {
		if err != nil {
			s.serverGone(err)
		}
	}
	switch {
	case len(p) == 0:
		lost()
	case s.core.HeavyServer(len(p)):
		p = append([]byte(nil), p...)
		s.apart(func() { _ = s.core.Server(p) }) // the core keeps the error
		s.after = append(s.after, lost)
	default:
		s.core.RecordLater()
		_ = s.core.Server(p)
		s.toSend()
		s.core.RecordNow()
		lost()
	}
}

// toSend sends what the core has for either side.
func (s *looped) toSend() {
	l := s.loop
	for _, e := range []*end{&s.toServer, &s.toAgent} {
		var out, reuse []byte
		if e == &s.toServer {
			out, reuse = s.core.ToServer(l.spare)
		} else {
			out, reuse = s.core.ToAgent(l.spare)
		}
		if len(out) == 0 {
			continue
		}
		if e == &s.toServer {
			l.asked(e)
		}
		l.send(e, out, len(out) > maxKept && reuse == nil)
		l.spare = reuse
	}
	if s.core.Cancelling() {
		s.cancelUpstream(func() {})
	}
}

// settle sees to what the core waits for, and to what is waited for on the sockets.
func (s *looped) settle() {
	for {
		s.toSend()
		if s.core.Ended() {
			s.endOnce(nil)
			return
		}
		switch s.core.Wait() {
		case wire.WaitNone:
			if p := s.ahead; len(p) > 0 {
				s.ahead = nil
				s.take(p)
				if s.elsewhere {
					return
				}
				continue
			}
			if s.hungUp {
				s.endOnce(nil)
				return
			}
		case wire.WaitFlush:
			if s.toAgent.unsent() < maxUnread {
				s.flushRecords()
			}
		case wire.WaitApproval:
			if s.hungUp && !s.asking {
				s.decided(nil, errAgentGone)
				return
			}
			s.approve()
		}
		s.interests()
		return
	}
}

// maxUnread is how much an agent may leave unread before nothing more of its is handled: refusals are answers that no
// server has to be heard for.
const maxUnread = 1 << 20

// interests tells epoll what to wait for: a side is read from only while the other takes what comes of it.
func (s *looped) interests() {
	var agent, server uint32
	switch {
	case s.elsewhere:
	case s.asking:
		if len(s.ahead) < maxAhead && !s.hungUp {
			agent = unix.EPOLLIN
		}
	case s.core.Wait() == wire.WaitNone && !s.toServer.pending() && s.toAgent.unsent() < maxUnread:
		agent = unix.EPOLLIN
	}
	if !s.elsewhere && !s.toAgent.pending() && s.toServer.unanswered() < maxUnread {
		server = unix.EPOLLIN
	}
	if s.toAgent.pending() {
		agent |= unix.EPOLLOUT
	}
	if s.toServer.pending() {
		server |= unix.EPOLLOUT
	}
	s.loop.want(&s.toAgent, agent)
	s.loop.want(&s.toServer, server)
}
