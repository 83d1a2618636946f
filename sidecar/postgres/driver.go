package postgres

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

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

	overtime overtime
	looped   *looped // where the event loop runs the session
}

// drive tells the agent that its session begins.
func (p *Protocol) drive(s *session.Session, c *client, up *upstream) (*driver, error) {
	agent := c.conn
	d := &driver{
		session: s, opts: &p.opts, up: up,
		agent:  &peer{Conn: agent, timeout: p.opts.WriteTimeout},
		server: &peer{Conn: up.conn, timeout: p.opts.WriteTimeout},
	}
	d.changed = sync.NewCond(&d.mu)
	db := database(c.start)
	config := wire.Config{
		Rules:      p.current(s),
		Record:     s.Recorder.Record,
		Catalogue:  up.shared,
		HashKey:    p.opts.HashKey,
		Nonce:      nonce(),
		Database:   db,
		User:       up.role,
		SearchPath: up.path,
		PathChosen: up.pathChosen,
		Parameters: up.parameters,
	}
	if r, ok := s.Recorder.(session.Keeper); ok {
		config.Ready, config.Keep = r.Ready, r.Keep
	}
	d.core = wire.New(config)
	version, _ := c.start.Negotiated()
	length := keyLength30
	if version >= wire.Version32 {
		length = keyLength32
	}
	cancelled := d.cancelled
	if p.opts.Driver == EventLoop {
		if d.looped = p.adopt(d, agent, up.conn); d.looped != nil {
			cancelled = d.looped.cancelled
		}
	}
	pid, key, forget := p.cancels.mint(up.pid, length, cancelled)
	hello := c.welcome()
	names := make([]string, 0, len(up.parameters))
	for name := range up.parameters {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value, _ := up.rules.Clean(up.parameters[name], 0)
		hello = appendMessage(hello, &pgproto3.ParameterStatus{Name: name, Value: value})
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
	if d.looped != nil {
		return d.looped.run(ctx)
	}
	defer d.forget()
	unhook := context.AfterFunc(ctx, func() { d.interrupt(context.Cause(ctx)) })
	defer unhook()
	if d.core.LimitsTime() {
		d.watchTime(ctx)
	}
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
	if withdrawing(cause) {
		message = cause.Error()
	}
	d.core.Fatal("57P01", message)
	d.endLocked(errors.New(message))
	d.mu.Unlock()
	d.agent.SetWriteDeadline(time.Now().Add(farewell))
	_ = d.flushAgent() // an agent that is gone needs no farewell
	d.agent.Close()
	if withdrawing(cause) {
		d.withdraw()
	}
	d.server.Close()
}

// withdrawing tells whether a session ends because what it runs may not go on.
func withdrawing(cause error) bool {
	return errors.Is(cause, session.ErrAccessOver) || errors.Is(cause, errOvertime)
}

// withdraw cancels the statement that runs when the time is over that the session was granted for. A server notices that
// its client is gone only when it has something to say; what was granted for a time may not run on until then.
func (d *driver) withdraw() {
	if err := d.up.cancel(context.Background()); err != nil {
		d.session.Log.Info("a statement could not be cancelled at the end of its session", "error", err.Error())
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
