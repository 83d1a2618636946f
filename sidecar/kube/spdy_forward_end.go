package kube

import (
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/kube/spdy"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// open is a stream that goes on.
type open struct {
	number uint32
	errors bool
}

// say ends what is open: a connection to a port has room for a message on the stream of its errors.
func (s *spdyForward) say(message string) {
	s.judging.Lock() // what a review has to say comes first
	defer s.judging.Unlock()
	s.mu.Lock()
	var all []open
	for number, at := range s.streams {
		if at.refused == nil && !at.upEnded {
			all = append(all, open{number, at.errors})
		}
	}
	s.mu.Unlock()
	s.tell(all, message)
}

// tell ends streams in the agent's eyes, errors first: with the data a client may look for them.
func (s *spdyForward) tell(streams []open, message string) {
	for _, o := range streams {
		if o.errors {
			_ = s.agent.data(o.number, true, []byte(message))
		}
	}
	for _, o := range streams {
		if !o.errors {
			_ = s.agent.frame(&spdy.Frame{Kind: spdy.RstStream, Stream: o.number, Status: spdy.StatusCancel})
		}
	}
}

// review ends the open connections to ports that changed rules deny.
func (s *spdyForward) review(now *policy.Destination) {
	s.judging.Lock()
	defer s.judging.Unlock()
	ports := make(map[uint16]bool)
	s.mu.Lock()
	for _, at := range s.streams {
		if at.refused == nil {
			ports[at.port] = true
		}
	}
	s.mu.Unlock()
	for port := range ports {
		v, asked := s.verdict(now, port)
		if v.Action != policy.Deny {
			continue
		}
		_ = s.r.x.recordPort(v, asked) // it ends in any case
		s.withdraw(port, fmt.Sprintf("%v: port %d: %s; ended by Chaperone", session.ErrNoLongerAllowed, port, judgement(v)))
	}
}

// withdraw ends the open connections to a port on both sides.
func (s *spdyForward) withdraw(port uint16, message string) {
	s.mu.Lock()
	var ended []open
	for number, at := range s.streams {
		if at.port != port || at.refused != nil {
			continue
		}
		delete(s.streams, number) // nothing of it is handed on any more
		ended = append(ended, open{number, at.errors})
	}
	s.mu.Unlock()
	for _, o := range ended {
		_ = s.up.frame(&spdy.Frame{Kind: spdy.RstStream, Stream: o.number, Status: spdy.StatusCancel})
	}
	s.tell(ended, message)
}
