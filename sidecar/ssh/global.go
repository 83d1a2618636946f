package ssh

import (
	"golang.org/x/crypto/ssh"
)

// maxGlobal bounds the requests of a connection that wait their turn; nothing more is read of it meanwhile. It is more
// than can be listened for (maxListening).
const maxGlobal = 128

// asked is a request that waits its turn.
type asked struct {
	*ssh.Request
	answered chan struct{} // closed once it is
}

// sorted hands on what the agent asks of the connection, and every channel that it opens with what it asked for before
// that: answered is closed once the target has that too, so that nothing overtakes it. x/crypto/ssh delivers in order, by
// two ways. It ends with the channels.
func (c *connection) sorted(serve func(opening ssh.NewChannel, answered <-chan struct{})) {
	queue := make(chan asked, maxGlobal)
	defer close(queue)
	go c.globalRequests(queue)
	answered := make(chan struct{})
	close(answered)
	add := func(r *ssh.Request) {
		a := asked{r, make(chan struct{})}
		select {
		case queue <- a:
			answered = a.answered
		case <-c.ctx.Done():
		}
	}
	requests := c.agent.requests
	for {
		select {
		case r, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			add(r)
		case opening, ok := <-c.agent.channels:
			if !ok {
				return
			}
			// What came before the channel is there by now.
			for range len(requests) {
				if r, ok := <-requests; ok {
					add(r)
				}
			}
			serve(opening, answered)
		}
	}
}

// globalRequests answers what the agent asks of the connection (RFC 4254 4), in order, as the protocol wants it.
func (c *connection) globalRequests(queue <-chan asked) {
	for r := range queue {
		ok, payload := false, []byte(nil)
		switch r.Type {
		case "keepalive@openssh.com":
			// The sidecar lives; whether the target does is its own to find out.
			ok = true
		case "no-more-sessions@openssh.com":
			ok = true
		case "tcpip-forward", "streamlocal-forward@openssh.com", "cancel-tcpip-forward", "cancel-streamlocal-forward@openssh.com":
			ok, payload = c.remoteForward(r.Request)
		}
		if r.WantReply {
			_ = r.Reply(ok, payload)
		}
		close(r.answered)
	}
}

// upstreamRequests answers what the target asks of the connection. Its host keys (hostkeys-00@openssh.com, OpenSSH
// PROTOCOL 2.5) are swallowed: the agent would take them for the sidecar's.
func (c *connection) upstreamRequests(_ *upstream, requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}
}
