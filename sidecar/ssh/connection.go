package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// maxChannels bounds what one connection may have open: OpenSSH's server lets ten sessions in (MaxSessions), and a
// browser behind -D opens some dozens of connections.
const maxChannels = 128

// lastWords is how long an agent has to ask and be told why the target was not reached.
const lastWords = 10 * time.Second

// connection is one agent's connection and the one to the target that belongs to it.
type connection struct {
	protocol *Protocol
	session  *session.Session
	agent    *agentConn
	ctx      context.Context // ends with the connection
	cancel   context.CancelCauseFunc
	// kept is what the connection began with: it says how the target is reached and what is masked for as long as the
	// connection lives. Rules are asked as of now.
	kept      *policy.Destination
	settings  *policy.SSHSettings
	detectors *mask.Detectors

	commands atomic.Uint64
	open     atomic.Int64 // channels
	channels sync.WaitGroup
	ending   sync.RWMutex // read while something that runs is being ended

	reached  chan struct{} // closed once upstream or failed is set
	upstream *upstream
	failed   error

	over      chan struct{} // closed when the time is over that access was granted for
	overCause error         // which grant that was, once over is closed

	noticeMu sync.Mutex // guards what follows
	notices  []string   // for whoever waits for the target
	noticed  chan struct{}

	remote remoteForwards
}

// serve runs what follows an agent's handshake.
func (p *Protocol) serve(ctx context.Context, s *session.Session, agent *agentConn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &connection{
		protocol: p, session: s, agent: agent, ctx: ctx, cancel: cancel,
		reached: make(chan struct{}), noticed: make(chan struct{}), over: make(chan struct{}),
	}
	go func() {
		defer close(c.reached)
		if c.upstream, c.failed = c.reach(ctx); c.failed != nil {
			// A connection to nowhere must not stay: a client that shares it would find it again and again.
			timer := time.AfterFunc(lastWords, func() { cancel(c.failed) })
			context.AfterFunc(ctx, func() { timer.Stop() })
		}
	}()
	stop := context.AfterFunc(ctx, func() { c.agent.conn.Close() })
	defer stop()
	c.sorted(func(opening ssh.NewChannel, answered <-chan struct{}) {
		if c.open.Add(1) > maxChannels {
			c.open.Add(-1)
			_ = opening.Reject(ssh.ResourceShortage, fmt.Sprintf("%d channels are open, more are not allowed", maxChannels))
			return
		}
		c.channels.Go(func() {
			defer c.open.Add(-1)
			c.serveChannel(opening, answered)
		})
	})
	cause := context.Cause(ctx)
	cancel(errAgentGone)
	<-c.reached
	if c.upstream != nil {
		c.ending.Lock() // what is being ended still gets its signals
		c.upstream.close()
		c.ending.Unlock()
	}
	c.channels.Wait()
	text := ""
	if c.failed != nil && !errors.Is(c.failed, errAgentGone) {
		cause = c.failed
	}
	if cause != nil {
		text, _ = c.masking().Text(cause.Error(), 1<<10)
	}
	_ = c.record(record.Event{Kind: record.KindDisconnect, Error: text})
	if errors.Is(cause, errAgentGone) {
		return nil
	}
	return cause
}

// serveChannel serves what the agent opened, once what it asked for before that is answered.
func (c *connection) serveChannel(opening ssh.NewChannel, answered <-chan struct{}) {
	switch opening.ChannelType() {
	case "session":
		channel, requests, err := opening.Accept()
		if err != nil {
			return
		}
		newChannel(c, channel, answered).serve(requests)
	case "direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com":
		c.forward(opening, answered)
	default:
		_ = opening.Reject(ssh.UnknownChannelType, "unknown channel type")
	}
}

// destination returns the rules as of now, or why there are none: a *refusal.
func (c *connection) destination() (*policy.Destination, error) {
	d := c.session.Rules()
	if err := c.usable(d); err != nil {
		return nil, err
	}
	return d, nil
}

// masking are the detectors of the policies that the connection began with.
func (c *connection) masking() *mask.Detectors { return c.detectors }

func (c *connection) record(e record.Event) error { return c.session.Recorder.Record(e) }

// notify leaves a text for whoever waits for the target.
func (c *connection) notify(text string) {
	c.noticeMu.Lock()
	defer c.noticeMu.Unlock()
	c.notices = append(c.notices, text)
	close(c.noticed)
	c.noticed = make(chan struct{})
}

// await waits until the target is reached, and hands on what there is to say meanwhile. An error is a *refusal, or
// ctx's.
func (c *connection) await(ctx context.Context, say func(string)) (*upstream, error) {
	said := 0
	for {
		c.noticeMu.Lock()
		more, changed := c.notices[said:], c.noticed
		c.noticeMu.Unlock()
		for _, text := range more {
			said++
			if say != nil {
				say(text)
			}
		}
		select {
		case <-c.reached:
			return c.upstream, c.failed
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
