package ssh

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// replies are the answers to the requests of a channel, which go in the order of the requests (RFC 4254 5.4). Its zero
// value is ready.
type replies struct {
	mu   sync.Mutex // guards what follows, and orders what is sent
	held *ssh.Request
	then []reply // what came after held
}

type reply struct {
	request *ssh.Request
	ok      bool
}

// give answers a request; one that is answered already wants no more. False means that too many wait behind one that is
// held.
func (s *replies) give(r *ssh.Request, ok bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !r.WantReply:
		return true
	case s.held == nil:
		_ = r.Reply(ok, nil)
		r.WantReply = false
		return true
	case len(s.then) == maxPending:
		return false
	}
	s.then = append(s.then, reply{r, ok})
	return true
}

// hold leaves the answer to a request to settle.
func (s *replies) hold(r *ssh.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.WantReply {
		held := *r
		s.held, r.WantReply = &held, false
	}
}

// settle answers the request that is held, and all that came after it.
func (s *replies) settle(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return
	}
	_ = s.held.Reply(ok, nil)
	for _, r := range s.then {
		_ = r.request.Reply(r.ok, nil)
	}
	s.held, s.then = nil, nil
}
