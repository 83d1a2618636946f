package ssh

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// remoteForwards are the forwardings whose channels the target opens. Its zero value is ready.
type remoteForwards struct {
	mu        sync.Mutex // guards what follows
	sessions  map[string]bool
	listening map[string]int // on the target: host:port, or a path
}

// maxListening bounds the listeners of one connection.
const maxListening = 64

// allow lets the channels of a session's forwarding (Agent, X11) in.
func (f *remoteForwards) allow(forwarding string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sessions == nil {
		f.sessions = make(map[string]bool)
	}
	f.sessions[forwarding] = true
}

// expects tells whether a channel that the target opens belongs to a forwarding that was let through.
func (f *remoteForwards) expects(kind string, extra []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind {
	case "auth-agent@openssh.com":
		return f.sessions["Agent"]
	case "x11":
		return f.sessions["X11"]
	case "forwarded-tcpip":
		var d direct
		return ssh.Unmarshal(extra, &d) == nil && f.listening[hostPort(d.Host, d.Port)] > 0
	case "forwarded-streamlocal@openssh.com":
		var d struct{ Path, Reserved string }
		return ssh.Unmarshal(extra, &d) == nil && f.listening[d.Path] > 0
	}
	return false
}

func (f *remoteForwards) listen(address string, by int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listening == nil {
		f.listening = make(map[string]int)
	}
	if by > 0 && len(f.listening) >= maxListening {
		return false
	}
	if f.listening[address] += by; f.listening[address] <= 0 {
		delete(f.listening, address)
	}
	return true
}

// remoteForward judges a request to listen on the target (RFC 4254 7.1, OpenSSH PROTOCOL 2.4), or to end that. Global
// requests have one answer after another, so that none is held for people: it is refused, and asked for again succeeds
// once it has been approved.
func (c *connection) remoteForward(r *ssh.Request) (bool, []byte) {
	var address string
	var port uint32
	tcp := r.Type == "tcpip-forward" || r.Type == "cancel-tcpip-forward"
	var m struct {
		Host string
		Port uint32
	}
	if tcp {
		if err := ssh.Unmarshal(r.Payload, &m); err != nil {
			return false, nil
		}
		address, port = hostPort(m.Host, m.Port), m.Port
	} else {
		var m struct{ Path string }
		if err := ssh.Unmarshal(r.Payload, &m); err != nil {
			return false, nil
		}
		address = m.Path
	}
	up, err := c.await(c.ctx, nil)
	if err != nil {
		return false, nil
	}
	if r.Type == "cancel-tcpip-forward" || r.Type == "cancel-streamlocal-forward@openssh.com" {
		c.remote.listen(address, -1)
		ok, _, err := up.conn.SendRequest(r.Type, true, r.Payload)
		return ok && err == nil, nil
	}
	if _, err := c.judgeForward(atOnce(c.ctx), up, "Remote", address, nil); err != nil {
		return false, nil
	}
	// The target may open a channel before its answer has been read.
	if !c.remote.listen(address, 1) {
		return false, nil
	}
	ok, payload, err := up.conn.SendRequest(r.Type, true, r.Payload)
	if !ok || err != nil {
		c.remote.listen(address, -1)
		return false, nil
	}
	var chosen struct{ Port uint32 }
	if tcp && port == 0 && ssh.Unmarshal(payload, &chosen) == nil {
		c.remote.listen(address, -1)
		c.remote.listen(hostPort(m.Host, chosen.Port), 1)
	}
	return true, payload
}
