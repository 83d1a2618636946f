package ssh

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// direct is what a direct-tcpip channel opens with (RFC 4254 7.2), and a forwarded-tcpip one.
type direct struct {
	Host       string
	Port       uint32
	Originator string
	FromPort   uint32
}

// directLocal is direct-streamlocal@openssh.com (OpenSSH PROTOCOL 2.4).
type directLocal struct {
	Path     string
	Reserved string
	Port     uint32
}

// forwardRequest names a forwarding from what its channel opens with.
func forwardRequest(kind string, extra []byte) (forwarding, address string, err error) {
	switch kind {
	case "direct-tcpip":
		var d direct
		if err := ssh.Unmarshal(extra, &d); err != nil {
			return "", "", err
		}
		return "Local", hostPort(d.Host, d.Port), nil
	case "direct-streamlocal@openssh.com":
		var d directLocal
		if err := ssh.Unmarshal(extra, &d); err != nil {
			return "", "", err
		}
		return "StreamLocal", d.Path, nil
	}
	return "Tun", "", nil
}

func hostPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}

// judgeForward brings a forwarding before the gate.
func (c *connection) judgeForward(ctx context.Context, up *upstream, forwarding, address string, say func(string)) (passage, error) {
	text := forwarding + " forwarding"
	if address != "" {
		text += " to " + address
	}
	return c.gate(ctx, subject{
		commands: []policy.Command{{Protocol: policy.ProtocolSSH, Text: text, SSH: &policy.SSHRequest{
			Kind: policy.SSHForward, User: up.user, Forwarding: forwarding, Address: address,
		}}},
		text: text, digest: digest("ssh", c.kept.Name(), up.user, "forward", forwarding, address), say: say,
	})
}

// forward serves a channel that the agent opens to somewhere behind the target.
func (c *connection) forward(opening ssh.NewChannel, answered <-chan struct{}) {
	forwarding, address, err := forwardRequest(opening.ChannelType(), opening.ExtraData())
	if err != nil {
		_ = opening.Reject(ssh.ConnectionFailed, "what it opens with cannot be read")
		return
	}
	up, err := c.await(c.ctx, nil)
	if err != nil {
		_ = opening.Reject(ssh.ConnectionFailed, asRefusal(err).message)
		return
	}
	select {
	case <-answered:
	case <-c.ctx.Done():
	}
	let, err := c.judgeForward(c.ctx, up, forwarding, address, nil)
	if err != nil {
		r := asRefusal(err)
		_ = opening.Reject(ssh.Prohibited, printable("chaperone: "+r.message+"; "+r.detail))
		return
	}
	allowed, over := c.whileAllowed(c.ctx, let)
	defer over()
	c.bridge(allowed, opening, up.conn, opening.ExtraData(), let.number)
}

// bridge opens the same channel on the other side and joins both, for as long as that is allowed. number is the command
// that it is recorded as the result of; 0 for none.
func (c *connection) bridge(allowed context.Context, opening ssh.NewChannel, other ssh.Conn, extra []byte, number uint64) {
	result := record.Event{Kind: record.KindResult, Command: number}
	defer func() {
		if number != 0 {
			_ = c.record(result)
		}
	}()
	far, farRequests, err := other.OpenChannel(opening.ChannelType(), extra)
	if err != nil {
		result.Error = err.Error()
		reason, message := ssh.ConnectionFailed, err.Error()
		if refused, ok := err.(*ssh.OpenChannelError); ok { //nolint:errorlint // x/crypto/ssh returns it bare
			reason, message = refused.Reason, refused.Message
		}
		_ = opening.Reject(reason, printable(message))
		return
	}
	near, nearRequests, err := opening.Accept()
	if err != nil {
		_ = far.Close()
		result.Error = err.Error()
		return
	}
	stop := context.AfterFunc(allowed, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	result.Bytes = join(near, far, nearRequests, farRequests)
	if ended := interruption(allowed); ended != nil {
		result.Error = ended.cause.Error()
	}
}

// join hands on both ways until both sides have closed. It returns how many bytes went to the first.
func join(near, far ssh.Channel, nearRequests, farRequests <-chan *ssh.Request) int64 {
	var toNear int64
	var all sync.WaitGroup
	one := func(to, from ssh.Channel, requests <-chan *ssh.Request, count *int64) {
		done := make(chan struct{})
		all.Go(func() {
			defer close(done)
			n, err := stream.Copy(to, from)
			if count != nil {
				*count = n
			}
			_ = to.CloseWrite()
			if err != nil {
				_ = from.Close()
				_, _ = io.Copy(io.Discard, from)
			}
		})
		all.Go(func() {
			ssh.DiscardRequests(requests) // ends when the side closes its channel
			select {
			case <-done:
			case <-time.After(closeGrace):
			}
			_ = to.Close()
		})
	}
	one(near, far, farRequests, &toNear)
	one(far, near, nearRequests, nil)
	all.Wait()
	return toNear
}

// judgeForwardings drops those of the session's forwardings (agent, X11) that the policy refuses, and says so: ssh
// goes on without them as well.
func (ch *channel) judgeForwardings(up *upstream) {
	kept := ch.asked[:0]
	for _, r := range ch.asked {
		forwarding := "Agent"
		if r.Type == "x11-req" {
			forwarding = "X11"
		}
		let, err := ch.c.judgeForward(ch.ctx, up, forwarding, "", ch.say)
		if err != nil {
			ch.say(asRefusal(err).text())
			continue
		}
		ch.c.remote.allow(forwarding, let)
		kept = append(kept, r)
	}
	ch.asked = kept
}

// upstreamChannels serves what the target opens: the far ends of forwardings that were let through.
func (c *connection) upstreamChannels(channels <-chan ssh.NewChannel) {
	for opening := range channels {
		let, ok := c.remote.expects(opening.ChannelType(), opening.ExtraData())
		if !ok || c.stillAllowed(let)() != nil {
			_ = opening.Reject(ssh.Prohibited, "it was not asked for")
			continue
		}
		if c.open.Add(1) > maxChannels {
			c.open.Add(-1)
			_ = opening.Reject(ssh.ResourceShortage, fmt.Sprintf("%d channels are open, more are not allowed", maxChannels))
			continue
		}
		go func() {
			defer c.open.Add(-1)
			allowed, over := c.whileAllowed(c.ctx, let)
			defer over()
			c.bridge(allowed, opening, c.agent.conn, opening.ExtraData(), 0)
		}()
	}
}
