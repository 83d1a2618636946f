package ssh

import (
	"context"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// remoteForwards are the forwardings whose channels the target opens. Its zero value is ready.
type remoteForwards struct {
	mu        sync.Mutex // guards what follows
	sessions  map[string]passage
	listening map[string]*listener // on the target, by host:port or path
}

// listener is what the target listens at.
type listener struct {
	let     passage
	allowed context.Context
	end     context.CancelFunc
}

// maxListening bounds the listeners of one connection.
const maxListening = 64

// allow lets the channels of a session's forwarding (Agent, X11) in.
func (f *remoteForwards) allow(forwarding string, let passage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sessions == nil {
		f.sessions = make(map[string]passage)
	}
	f.sessions[forwarding] = let
}

// expects returns by what a channel that the target opens was let through; false where it belongs to no forwarding.
func (f *remoteForwards) expects(kind string, extra []byte) (let passage, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := ""
	switch kind {
	case "auth-agent@openssh.com":
		let, ok = f.sessions["Agent"]
		return let, ok
	case "x11":
		let, ok = f.sessions["X11"]
		return let, ok
	case "forwarded-tcpip":
		var d direct
		if ssh.Unmarshal(extra, &d) == nil {
			at = hostPort(d.Host, d.Port)
		}
	case "forwarded-streamlocal@openssh.com":
		var d struct{ Path, Reserved string }
		if ssh.Unmarshal(extra, &d) == nil {
			at = d.Path
		}
	}
	if l := f.listening[at]; l != nil {
		return l.let, true
	}
	return passage{}, false
}

// listen notes a listener; false means that there are too many, or one at that place.
func (f *remoteForwards) listen(at string, l *listener) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listening == nil {
		f.listening = make(map[string]*listener)
	}
	if len(f.listening) >= maxListening || f.listening[at] != nil {
		return false
	}
	f.listening[at] = l
	return true
}

// moved notes where a listener is that had its port chosen.
func (f *remoteForwards) moved(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.listening[from]; l != nil {
		delete(f.listening, from)
		f.listening[to] = l
	}
}

// forget ends what is known of a listener.
func (f *remoteForwards) forget(at string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.listening[at]; l != nil {
		l.end()
		delete(f.listening, at)
	}
}

// place is where to listen, as requests say it (RFC 4254 7.1, OpenSSH PROTOCOL 2.4).
type place struct {
	tcp  bool
	host string // or a path
	port uint32
}

func (p place) address() string {
	if !p.tcp {
		return p.host
	}
	return hostPort(p.host, p.port)
}

// cancel is the request that ends listening there.
func (p place) cancel() (kind string, payload []byte) {
	if !p.tcp {
		return "cancel-streamlocal-forward@openssh.com", ssh.Marshal(struct{ Path string }{p.host})
	}
	return "cancel-tcpip-forward", ssh.Marshal(struct {
		Host string
		Port uint32
	}{p.host, p.port})
}

func placeOf(r *ssh.Request) (p place, err error) {
	if r.Type == "tcpip-forward" || r.Type == "cancel-tcpip-forward" {
		var m struct {
			Host string
			Port uint32
		}
		err = ssh.Unmarshal(r.Payload, &m)
		return place{true, m.Host, m.Port}, err
	}
	var m struct{ Path string }
	err = ssh.Unmarshal(r.Payload, &m)
	return place{host: m.Path}, err
}

// remoteForward judges a request to listen on the target (RFC 4254 7.1, OpenSSH PROTOCOL 2.4), or to end that. Global
// requests have one answer after another, so that none is held for people: it is refused, and asked for again succeeds
// once it has been approved.
func (c *connection) remoteForward(r *ssh.Request) (bool, []byte) {
	at, err := placeOf(r)
	if err != nil {
		return false, nil
	}
	up, err := c.await(c.ctx, nil)
	if err != nil {
		return false, nil
	}
	if r.Type == "cancel-tcpip-forward" || r.Type == "cancel-streamlocal-forward@openssh.com" {
		c.remote.forget(at.address())
		ok, _, err := up.conn.SendRequest(r.Type, true, r.Payload)
		return ok && err == nil, nil
	}
	let, err := c.judgeForward(atOnce(c.ctx), up, "Remote", at.address(), nil)
	if err != nil {
		return false, nil
	}
	l := &listener{let: let}
	l.allowed, l.end = c.whileAllowed(c.ctx, let)
	// The target may open a channel before its answer has been read.
	if !c.remote.listen(at.address(), l) {
		l.end()
		return false, nil
	}
	ok, payload, err := up.conn.SendRequest(r.Type, true, r.Payload)
	if !ok || err != nil {
		c.remote.forget(at.address())
		return false, nil
	}
	var chosen struct{ Port uint32 }
	if at.tcp && at.port == 0 && ssh.Unmarshal(payload, &chosen) == nil {
		asked := at.address()
		at.port = chosen.Port
		c.remote.moved(asked, at.address())
	}
	context.AfterFunc(l.allowed, func() { c.endListener(up, at, l) })
	return true, payload
}

// endListener has the target listen no more where that is not allowed any more. What is connected is ended for itself.
func (c *connection) endListener(up *upstream, at place, l *listener) {
	ended := interruption(l.allowed)
	if ended == nil {
		return
	}
	c.remote.forget(at.address())
	kind, payload := at.cancel()
	_, _, _ = up.conn.SendRequest(kind, true, payload)
	_ = c.record(record.Event{Kind: record.KindResult, Command: l.let.number, Error: ended.cause.Error()})
}
