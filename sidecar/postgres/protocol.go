package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sasl"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Options are a Protocol's bounds. Zero values mean the defaults.
type Options struct {
	// HandshakeTimeout bounds an agent's TLS and start-up; default 30 s, half the server's authentication_timeout.
	HandshakeTimeout time.Duration
	// ConnectTimeout bounds reaching the target and authenticating there; default 20 s.
	ConnectTimeout time.Duration
	// WriteTimeout is how long one write may make no progress before the peer counts as gone; default 2 min.
	WriteTimeout time.Duration
	// FlushTimeout bounds how long a command waits for its record to be acknowledged; default 15 s.
	FlushTimeout time.Duration
	// CatalogueAge is how long what was read of a database's relations is used; default 1 min.
	CatalogueAge time.Duration
	// Driver is how sessions are run once they are established; default EventLoop.
	Driver Driver
	// HashKey keys the masking method Hash; default random, so that hashes compare within the pod's life.
	HashKey []byte
	// Role is told what a leased credential may do in its server, at the first connection and again after a while. May
	// be nil.
	Role func(session.Role)
}

// Driver is how an established session is run. What comes before it, and what is slow, goroutines do in either case.
type Driver uint8

const (
	// EventLoop runs all sessions in one goroutine, on Linux. A session whose connections have no sockets is run by
	// goroutines, as all are on other systems.
	EventLoop Driver = iota
	// Goroutines run a session with one for each side.
	Goroutines
)

// Protocol implements session.Protocol. It is safe for concurrent use, and one serves all of a pod's sessions:
// cancel keys and catalogues are shared by them.
type Protocol struct {
	opts    Options
	cancels cancels
	loop    eventLoop

	rulesMu sync.Mutex // guards rules
	rules   map[*policy.Destination]*wire.Rules

	mu         sync.Mutex // guards what follows
	catalogues map[catalogueKey]*known
	open       map[string]int             // sessions by destination
	roles      map[catalogueKey]time.Time // when each was last looked at, without its database
	verifiers  map[string]*sasl.Verifier  // by the password that agents are asked for
}

// catalogueKey is a database as one of its roles sees it. What is behind an address may change; server tells one start of a
// server, and one database of a name, from another.
type catalogueKey struct{ address, database, user, server string }

// known is a catalogue and how many sessions use it.
type known struct {
	*catalogue.Shared
	sessions int
}

var _ session.Protocol = (*Protocol)(nil)

// New returns a Protocol.
func New(opts Options) *Protocol {
	fill := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	fill(&opts.HandshakeTimeout, 30*time.Second)
	fill(&opts.ConnectTimeout, 20*time.Second)
	fill(&opts.WriteTimeout, 2*time.Minute)
	fill(&opts.FlushTimeout, 15*time.Second)
	fill(&opts.CatalogueAge, time.Minute)
	if len(opts.HashKey) == 0 {
		opts.HashKey = make([]byte, 32)
		rand.Read(opts.HashKey)
	}
	return &Protocol{
		opts:       opts,
		rules:      make(map[*policy.Destination]*wire.Rules),
		catalogues: make(map[catalogueKey]*known),
		open:       make(map[string]int),
		roles:      make(map[catalogueKey]time.Time),
		verifiers:  make(map[string]*sasl.Verifier),
	}
}

// Serve implements session.Protocol. It closes the agent's connection and the recorder.
func (p *Protocol) Serve(ctx context.Context, s *session.Session) (err error) {
	defer s.Agent.Close()
	defer func() {
		if cerr := s.Recorder.Close(); cerr != nil && err == nil {
			err = fmt.Errorf("closing the recording: %w", cerr)
		}
	}()
	if err := s.Agent.SetDeadline(time.Now().Add(p.opts.HandshakeTimeout)); err != nil {
		return fmt.Errorf("bounding the agent's start-up: %w", err)
	}
	c, err := p.greet(ctx, s)
	if err != nil || c == nil {
		return err
	}
	defer c.conn.Close()
	return p.session(ctx, s, c)
}

// session runs what follows the agent's start-up packet.
func (p *Protocol) session(ctx context.Context, s *session.Session, c *client) error {
	start := c.start
	event := record.Event{
		Kind: record.KindConnect, Protocol: string(policy.ProtocolPostgres), Peer: s.Original.String(),
		Database: database(start), Client: start.Get("application_name"),
	}
	rules, err := p.destination(s)
	if err == nil {
		event.Client, _ = rules.Clean(event.Client, 256)
		err = p.authenticate(c, rules.Destination().Postgres().AgentPassword)
	}
	if err == nil {
		var release func()
		if release, err = p.admit(rules); err == nil {
			defer release()
		}
	}
	var up *upstream
	if err == nil {
		var end context.CancelFunc
		if ctx, end, err = p.access(ctx, s, c, rules); err == nil {
			defer end()
			up, err = p.prepare(ctx, s, start, rules)
		}
		if err == nil {
			event.User = up.user
			defer up.forget()
		}
	}
	if rerr := s.Recorder.Record(event); rerr != nil && err == nil {
		up.conn.Close()
		err = refuse("58000", "the session cannot be recorded: "+rerr.Error(), "The policy says recording.onFailure: Block.")
	}
	if err != nil {
		tell(c.conn, err)
		_ = s.Recorder.Record(record.Event{Kind: record.KindDisconnect, Error: err.Error()})
		return err
	}
	d, err := p.drive(s, c, up)
	if err == nil {
		err = d.run(ctx)
	}
	up.conn.Close()
	text := ""
	if err != nil {
		text, _ = rules.Clean(err.Error(), 1<<10)
	}
	_ = s.Recorder.Record(record.Event{Kind: record.KindDisconnect, Error: text})
	return err
}

// destination returns the rules as of now, or why there are none.
func (p *Protocol) destination(s *session.Session) (*wire.Rules, error) {
	d := s.Rules()
	if d == nil {
		return nil, refuse("42501", "no policy has a target for this database", "")
	}
	if c := d.Conflict(); c != "" {
		return nil, refuse("42501", "connections to target "+d.Name()+" are refused: "+c, "Whoever owns the policies has to make them agree.")
	}
	rules, err := p.compile(d)
	if err != nil {
		return nil, refuse("42501", err.Error(), "")
	}
	return rules, nil
}

// compile keeps one Rules for each destination that is in use; a change of policy makes new destinations.
func (p *Protocol) compile(d *policy.Destination) (*wire.Rules, error) {
	p.rulesMu.Lock()
	defer p.rulesMu.Unlock()
	if r := p.rules[d]; r != nil {
		return r, nil
	}
	r, err := wire.CompileRules(d)
	if err != nil {
		return nil, err
	}
	for old := range p.rules {
		if len(p.rules) < maxRules {
			break
		}
		delete(p.rules, old)
	}
	p.rules[d] = r
	return r, nil
}

// maxRules is far more than a pod has targets; destinations of sets that are gone make room.
const maxRules = 64

// admit counts the session against the policy's limit.
func (p *Protocol) admit(rules *wire.Rules) (release func(), err error) {
	d := rules.Destination()
	key := fmt.Sprint(d.Hosts(), d.Port())
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit := d.Postgres().Limits.MaxConnections; limit > 0 && int64(p.open[key]) >= limit {
		return nil, refuse("53300", fmt.Sprintf("target %s has %d sessions of this pod open, which is the policy's limit", d.Name(), limit),
			"Close a connection first.")
	}
	p.open[key]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.open[key]--; p.open[key] == 0 {
			delete(p.open, key)
		}
	}, nil
}

// shared returns what the pod's sessions know together of a database's relations, as one of its roles sees them, until
// forget is called. What is known of a server that has been replaced goes when nobody uses it any more.
func (p *Protocol) shared(key catalogueKey) (shared *catalogue.Shared, forget func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.catalogues[key]
	if c == nil {
		for k, old := range p.catalogues {
			other := k
			if other.server = key.server; other == key && old.sessions == 0 {
				delete(p.catalogues, k)
			}
		}
		c = &known{Shared: catalogue.NewShared(time.Now, p.opts.CatalogueAge)}
		p.catalogues[key] = c
	}
	c.sessions++
	return c.Shared, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.sessions--
	}
}

func database(start *wire.Startup) string {
	if d := start.Get("database"); d != "" {
		return d
	}
	return start.Get("user")
}

// nonce is unguessable, in hex.
func nonce() string {
	var raw [16]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

var errAgentGone = errors.New("the agent hung up")
