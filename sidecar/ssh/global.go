package ssh

import (
	"golang.org/x/crypto/ssh"
)

// globalRequests answers what the agent asks of the connection (RFC 4254 4), in order, as the protocol wants it.
func (c *connection) globalRequests() {
	for r := range c.agent.requests {
		ok, payload := false, []byte(nil)
		switch r.Type {
		case "keepalive@openssh.com":
			// The sidecar lives; whether the target does is its own to find out.
			ok = true
		case "no-more-sessions@openssh.com":
			ok = true
		case "tcpip-forward", "streamlocal-forward@openssh.com", "cancel-tcpip-forward", "cancel-streamlocal-forward@openssh.com":
			ok, payload = c.remoteForward(r)
		}
		if r.WantReply {
			_ = r.Reply(ok, payload)
		}
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
