package ssh

import (
	"context"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// channel is a session channel (RFC 4254 6): what it is to run, then what runs.
type channel struct {
	c     *connection
	agent ssh.Channel
	ctx   context.Context // ends when the agent closes the channel or gives up waiting
	stop  context.CancelFunc
	// answered is closed once the agent's earlier requests of the connection are.
	answered <-chan struct{}
	// settled takes what is closed once the agent's requests up to then are passed on.
	settled chan chan struct{}

	// What comes before the start; only the goroutine that takes the agent's requests writes it.
	env      []envVariable
	why      string // the agent's justification
	pty      *ptyRequest
	asked    []*ssh.Request // agent and X11 forwarding, to be judged
	started  bool
	finished chan struct{} // closed when run has ended; nil before
	replies  replies

	mu      sync.Mutex // guards what follows
	up      ssh.Channel
	pending []signalled // for up, once it is there
	term    *terminal
}

// signalled is a request of the agent that is passed on as it is.
type signalled struct {
	kind    string
	payload []byte
}

const (
	// maxEnv bounds the variables of a session, maxAsked its forwardings.
	maxEnv   = 64
	maxAsked = 4
	// maxPending bounds what is kept for a command that has not started.
	maxPending = 64
)

func newChannel(c *connection, agent ssh.Channel, answered <-chan struct{}) *channel {
	ch := &channel{c: c, agent: agent, answered: answered, settled: make(chan chan struct{})}
	ch.ctx, ch.stop = context.WithCancel(c.ctx)
	return ch
}

// serve takes the agent's requests until it closes the channel. It never waits: the requests of all channels come over
// one connection.
func (ch *channel) serve(requests <-chan *ssh.Request) {
	take := func(r *ssh.Request) {
		if !ch.replies.give(r, ch.request(r)) {
			ch.stop()
		}
	}
	for open := true; open; {
		select {
		case r, ok := <-requests:
			if open = ok; ok {
				take(r)
			}
		case settled := <-ch.settled:
			for range len(requests) {
				if r, ok := <-requests; ok {
					take(r)
				}
			}
			close(settled)
		}
	}
	ch.stop()
	if ch.finished != nil {
		<-ch.finished
	}
	_ = ch.agent.Close()
}

func (ch *channel) request(r *ssh.Request) bool {
	switch r.Type {
	case "env":
		return ch.setEnv(r.Payload)
	case "pty-req":
		if ch.started || ch.pty != nil {
			return false
		}
		ch.pty = parsePTY(r.Payload)
		return ch.pty != nil
	case "auth-agent-req@openssh.com", "x11-req":
		if ch.started || len(ch.asked) >= maxAsked {
			return false
		}
		ch.asked = append(ch.asked, r)
		return true
	case "exec", "shell", "subsystem":
		var text string
		if r.Type != "shell" {
			var m struct{ Text string }
			if err := ssh.Unmarshal(r.Payload, &m); err != nil {
				return false
			}
			text = m.Text
		}
		if ch.started {
			return false
		}
		ch.started = true
		ch.finished = make(chan struct{})
		kind := r.Type
		if r.Type == "subsystem" {
			// Clients that were told that it runs wait for its first words for ever (libssh2).
			ch.replies.hold(r)
		} else {
			// The answer comes before anything that is said: some clients read nothing before.
			ch.replies.give(r, true)
		}
		go func() {
			defer close(ch.finished)
			ch.run(kind, text)
		}()
		return true
	case "window-change", "signal", "break":
		return ch.pass(r)
	}
	return false
}

// pass hands a request on to what runs, or keeps it for what will. A signal ends what waits for people.
func (ch *channel) pass(r *ssh.Request) bool {
	ch.mu.Lock()
	up := ch.up
	if up == nil {
		if r.Type == "signal" {
			ch.mu.Unlock()
			ch.stop()
			return true
		}
		if len(ch.pending) < maxPending {
			ch.pending = append(ch.pending, signalled{r.Type, r.Payload})
		}
		ch.mu.Unlock()
		return true
	}
	term := ch.term
	ch.mu.Unlock()
	if r.Type == "window-change" && term != nil {
		term.resize(r.Payload)
	}
	_, err := up.SendRequest(r.Type, false, r.Payload)
	return err == nil
}

// say writes to the agent's standard error.
func (ch *channel) say(text string) {
	if ch.pty != nil {
		text = crlf(text)
	}
	_, _ = ch.agent.Stderr().Write([]byte(text))
}

// crlf is how a terminal in raw mode wants its lines.
func crlf(text string) string {
	var b []byte
	for i := range len(text) {
		if text[i] == '\n' {
			b = append(b, '\r')
		}
		b = append(b, text[i])
	}
	return string(b)
}

// closeGrace is how long a peer has to take what was sent before its channel is closed under it.
const closeGrace = 10 * time.Second

// exit ends the channel with a status (RFC 4254 6.10).
func (ch *channel) exit(status uint32) {
	_, _ = ch.agent.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	// OpenSSH ends the moment that a request fails, and would not show what was said before (clientloop.c,
	// client_status_confirm).
	ch.replies.settle(openSSH.Match(ch.c.agent.conn.ClientVersion()))
	_ = ch.agent.CloseWrite()
	_ = ch.agent.Close()
}

// refuse ends the channel with an error's text.
func (ch *channel) refuse(err error) {
	r := asRefusal(err)
	if ch.c.ctx.Err() == nil {
		ch.say(r.text())
	}
	ch.exit(r.status)
}
