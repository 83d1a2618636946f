package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"sync"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// bufferSize is what one read takes at most, and so what one write sends.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// driver runs a session's core with one goroutine a direction: each reads from its side, hands over what it got,
// and sends on what came of it in one write.
//
// What the server's bytes cause to be sent to the server (statements that were held) the agent's goroutine sends,
// woken by changed: the server's goroutine must not wait for the server to read, because the server may be
// waiting for it.
type driver struct {
	session *session.Session
	opts    *Options
	up      *upstream

	agent, server *peer

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	core    *wire.Core
	over    bool  // either side has ended
	failure error // the first
	stop    context.CancelFunc
	stopped bool // by a CancelRequest

	ahead  []byte // received from the agent while it waited; agent's goroutine
	forget func() // the cancel key
}

// peer is one side's connection and its writer.
type peer struct {
	net.Conn
	writing  sync.Mutex // orders writes: taken before driver.mu, and what is to be written is fetched under both
	spare    []byte
	timeout  time.Duration
	deadline time.Time
}

// send writes p. A peer that takes nothing for the timeout counts as gone.
func (p *peer) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	now := time.Now()
	if p.deadline.Sub(now) < p.timeout/2 || len(b) > 4*bufferSize {
		// A write of many megabytes may take long; one that makes no progress may not.
		p.deadline = now.Add(p.timeout + time.Duration(len(b)/(64<<10))*time.Second/16)
		if err := p.SetWriteDeadline(p.deadline); err != nil {
			return err
		}
	}
	_, err := p.Write(b)
	return err
}

// drive tells the agent that its session begins.
func (p *Protocol) drive(s *session.Session, agent net.Conn, start *wire.Startup, up *upstream) (*driver, error) {
	d := &driver{
		session: s, opts: &p.opts, up: up,
		agent:  &peer{Conn: agent, timeout: p.opts.WriteTimeout},
		server: &peer{Conn: up.conn, timeout: p.opts.WriteTimeout},
	}
	d.changed = sync.NewCond(&d.mu)
	db := database(start)
	d.core = wire.New(wire.Config{
		Rules:      p.current(s),
		Record:     s.Recorder.Record,
		Catalogue:  up.shared,
		HashKey:    p.opts.HashKey,
		Nonce:      nonce(),
		Database:   db,
		User:       up.role,
		SearchPath: up.path,
		Parameters: up.parameters,
	})
	version, tellVersion := start.Negotiated()
	length := keyLength30
	if version >= wire.Version32 {
		length = keyLength32
	}
	pid, key, forget := p.cancels.mint(length, d.cancelled)
	var hello []byte
	if tellVersion && !up.greeted {
		hello = wire.AppendNegotiation(hello, version, start.Options)
	}
	if !up.greeted {
		hello = appendMessage(hello, &pgproto3.AuthenticationOk{})
	}
	names := make([]string, 0, len(up.parameters))
	for name := range up.parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		hello = appendMessage(hello, &pgproto3.ParameterStatus{Name: name, Value: up.parameters[name]})
	}
	hello = wire.AppendKey(hello, pid, key)
	hello = appendMessage(hello, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	d.forget = forget
	if err := agent.SetDeadline(time.Time{}); err != nil {
		forget()
		return nil, fmt.Errorf("clearing the agent's deadline: %w", err)
	}
	if err := d.agent.send(hello); err != nil {
		forget()
		return nil, fmt.Errorf("answering the agent's start-up: %w", err)
	}
	return d, nil
}

func appendMessage(dst []byte, m pgproto3.BackendMessage) []byte {
	out, err := m.Encode(dst)
	if err != nil { // only a message over 1 GiB
		return dst
	}
	return out
}

// current follows the session's rules: a change of policy is a new destination.
func (p *Protocol) current(s *session.Session) func() *wire.Rules {
	var (
		last  *policy.Destination
		rules *wire.Rules
	)
	return func() *wire.Rules {
		d := s.Rules()
		if d == last {
			return rules
		}
		last, rules = d, nil
		if d != nil {
			var err error
			if rules, err = p.compile(d); err != nil {
				s.Log.Error(err, "the policy cannot be put in force; the session ends")
				rules = nil
			}
		}
		return rules
	}
}

// run runs the session until either side ends it. It returns nil when that was by its own wish.
func (d *driver) run(ctx context.Context) error {
	defer d.forget()
	if d.up.until > 0 {
		var end context.CancelFunc
		ctx, end = context.WithTimeoutCause(ctx, d.up.until, errAccessOver)
		defer end()
	}
	unhook := context.AfterFunc(ctx, func() { d.interrupt(context.Cause(ctx)) })
	defer unhook()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.fromServer(ctx)
	}()
	d.fromAgent(ctx)
	d.server.Close()
	<-done
	d.mu.Lock()
	defer d.mu.Unlock()
	d.core.Close(d.failure)
	if d.failure == nil {
		return d.core.Err()
	}
	return d.failure
}

// end notes that the session is over and wakes whoever waits.
func (d *driver) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endLocked(err)
}

func (d *driver) endLocked(err error) {
	if !d.over {
		d.over, d.failure = true, err
	}
	if d.stop != nil {
		d.stop()
	}
	d.changed.Broadcast()
}

// interrupt ends the session from outside: the sidecar stops, or the time that access was granted for is up.
func (d *driver) interrupt(cause error) {
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		return
	}
	message := "the sidecar is stopping"
	if errors.Is(cause, errAccessOver) {
		message = cause.Error()
	}
	d.core.Fatal("57P01", message)
	d.endLocked(errors.New(message))
	d.mu.Unlock()
	d.agent.SetWriteDeadline(time.Now().Add(farewell))
	d.flushAgent()
	d.agent.Close()
	d.server.Close()
}

// fromServer reads what the server sends.
func (d *driver) fromServer(ctx context.Context) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	for {
		n, err := d.server.Read(buf)
		if n > 0 {
			if err := d.deliver(ctx, buf[:n]); err != nil {
				d.end(err)
				d.agent.Close()
				return
			}
		}
		if err != nil {
			d.serverGone(err)
			return
		}
	}
}

// deliver hands the server's bytes to the core and what comes of them to the agent.
func (d *driver) deliver(ctx context.Context, p []byte) error {
	a := d.agent
	a.writing.Lock()
	defer a.writing.Unlock()
	d.mu.Lock()
	before := d.core.Wait()
	broken := d.core.Server(p)
	out, reuse := d.core.ToAgent(a.spare)
	if d.core.Cancelling() {
		go d.cancelUpstream(ctx)()
	}
	_, toServer := d.core.Pending()
	if before != wire.WaitNone || toServer || d.core.Ended() {
		d.changed.Broadcast()
	}
	d.mu.Unlock()
	if err := a.send(out); err != nil {
		return errAgentGone
	}
	a.spare = reuse
	if toServer && before == wire.WaitNone {
		d.flushServer() // a word of the core's own; the agent's goroutine is reading
	}
	return broken
}

// serverGone tells the agent that the server has hung up, if that was not to be expected.
func (d *driver) serverGone(err error) {
	cause := "connection reset"
	if errors.Is(err, io.EOF) {
		cause = "end of file"
	}
	d.mu.Lock()
	expected := d.over || d.core.Ended()
	d.core.Lost(cause)
	d.mu.Unlock()
	if !expected {
		d.agent.SetWriteDeadline(time.Now().Add(farewell))
		d.flushAgent()
		d.end(fmt.Errorf("the database server has closed the connection: %s", cause))
	} else {
		d.end(nil)
	}
	d.agent.Close()
}

// flushAgent sends what the core has for the agent.
func (d *driver) flushAgent() error {
	a := d.agent
	a.writing.Lock()
	defer a.writing.Unlock()
	d.mu.Lock()
	out, reuse := d.core.ToAgent(a.spare)
	d.mu.Unlock()
	if err := a.send(out); err != nil {
		return errAgentGone
	}
	a.spare = reuse
	return nil
}

// flushServer sends what the core has for the server.
func (d *driver) flushServer() {
	s := d.server
	s.writing.Lock()
	defer s.writing.Unlock()
	d.mu.Lock()
	out, reuse := d.core.ToServer(s.spare)
	d.mu.Unlock()
	if err := s.send(out); err != nil {
		// The goroutine that reads from the server learns why, and tells the agent.
		s.Close()
	}
	s.spare = reuse
}

// fromAgent reads what the agent sends.
func (d *driver) fromAgent(ctx context.Context) {
	defer d.agent.Close()
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	for {
		var p []byte
		if len(d.ahead) > 0 {
			p, d.ahead = d.ahead, nil
		} else {
			n, err := d.agent.Read(buf)
			if n == 0 && err != nil {
				d.end(nil)
				return
			}
			p = buf[:n]
		}
		d.mu.Lock()
		d.core.Agent(p)
		if !d.settle(ctx) {
			return
		}
	}
}

// settle sends what the core has and sees to what it waits for, until it takes more from the agent; false when
// the session is over. d.mu is held when it is called, and not when it returns.
func (d *driver) settle(ctx context.Context) bool {
	for {
		toAgent, _ := d.core.Pending()
		ended := d.core.Ended()
		d.mu.Unlock()
		d.flushServer()
		if toAgent {
			if ended {
				d.agent.SetWriteDeadline(time.Now().Add(farewell))
			}
			if err := d.flushAgent(); err != nil {
				d.end(nil)
				return false
			}
		}
		if ended {
			d.mu.Lock()
			broken := d.core.Err() != nil
			d.mu.Unlock()
			if broken {
				linger(d.agent.Conn)
			}
			d.end(nil)
			return false
		}
		d.mu.Lock()
		if d.over {
			d.mu.Unlock()
			return false
		}
		if agent, server := d.core.Pending(); agent || server {
			continue
		}
		switch d.core.Wait() {
		case wire.WaitNone:
			d.mu.Unlock()
			return true
		case wire.WaitServer:
			d.changed.Wait()
		case wire.WaitFlush:
			d.flushRecords(ctx)
		case wire.WaitApproval:
			d.approve(ctx)
		}
	}
}

// refusalFlush bounds how long a refused agent waits for its answer while the operator is away.
const refusalFlush = 2 * time.Second

// flushRecords waits until the operator has what was recorded. d.mu is held around it.
func (d *driver) flushRecords(ctx context.Context) {
	limit := d.opts.FlushTimeout
	if d.core.Refusing() {
		limit = min(limit, refusalFlush)
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := d.session.Recorder.Flush(ctx)
	cancel()
	d.mu.Lock()
	d.core.Flushed(err)
}

// cancelUpstream asks the server to cancel what it runs. d.mu is held; the work is done without it, by the
// function that it returns.
func (d *driver) cancelUpstream(ctx context.Context) (work func()) {
	d.core.Cancel()
	return func() {
		if err := d.up.cancel(ctx); err != nil {
			d.session.Log.Info("a statement could not be cancelled", "error", err.Error())
		}
		d.mu.Lock()
		d.core.Cancelled()
		d.changed.Broadcast()
		d.mu.Unlock()
	}
}

// cancelled does what the agent's CancelRequest asks for.
func (d *driver) cancelled() {
	d.mu.Lock()
	work := func() {}
	switch {
	case d.over:
	case d.core.Wait() == wire.WaitApproval && d.stop != nil:
		d.stopped = true
		d.stop()
	default:
		work = d.cancelUpstream(context.Background())
	}
	d.mu.Unlock()
	work()
}
