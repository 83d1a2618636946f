package wire

import (
	"errors"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Config is what a session knows when the server is ready for its first query.
type Config struct {
	// Rules are the destination's as of now; the core asks again for every statement. nil: the destination is
	// gone, and every statement is refused.
	Rules func() *Rules
	// Record keeps an event. An error means that it was not kept and that the command must be refused.
	Record func(record.Event) error
	// Ready tells whether that many events would be kept now, and Keep keeps one after Ready has said so, whatever has
	// happened in between. Both nil: every command is recorded before it is sent on.
	Ready func(events int) bool
	Keep  func(record.Event)
	// Catalogue is the database's, shared by the pod's sessions. It is read only while a policy protects columns
	// by name.
	Catalogue *catalogue.Shared
	// HashKey keys the masking method Hash.
	HashKey []byte
	// Nonce is unguessable for the agent; it names what the server must not know (see poison).
	Nonce string
	// Database and User are the session's at the server.
	Database, User string
	// SearchPath is current_schemas(false).
	SearchPath []string
	// PathChosen says that the agent asked for that path as the session began.
	PathChosen bool
	// Parameters are the server's ParameterStatus values.
	Parameters map[string]string
}

// WaitKind is what a session waits for before it takes more from the agent.
type WaitKind uint8

const (
	// WaitNone: bytes of either side are welcome.
	WaitNone WaitKind = iota
	// WaitServer: only bytes of the server's help.
	WaitServer
	// WaitFlush: Flushed has to be called once everything recorded so far is safe.
	WaitFlush
	// WaitApproval: Decided has to be called once people have decided on Ask.
	WaitApproval
)

// Core is the session. It is not safe for concurrent use.
type Core struct {
	cfg      Config
	compiled *Rules
	masker   *mask.Masker

	toAgent, toServer sink

	// The agent's side.
	in      []byte   // received and not yet taken: a part of a frame, or what came while waiting
	drop    int      // bytes of a refused frame still to come
	forward int      // bytes of a COPY line still to come, sent on as they are
	binding *binding // a Bind that streams through
	binder  binding
	reader  binding
	unread  []*portal
	segment segment
	pending *pending
	wait    WaitKind
	copyIn  copyState

	// The server's side.
	held     []byte // a part of a frame that has to be whole
	need     int    // its size
	pass     int    // bytes of a frame still to come that need not be whole
	swallow  bool   // those bytes do not go on
	bounds   rowBounds
	cleared  cleared
	longRow  *longRow
	longLine *longLine
	scratch  []byte
	tag      string // of the last command
	plain    []byte
	hashed   []byte
	row      []byte
	queue    queue
	tx       byte
	copyOut  *copyOut
	dropping bool // what the server sends is dropped up to its next ReadyForQuery
	cancel   bool
	cancels  int    // requests under way
	overdue  uint64 // the segment in which a statement was cancelled because it took too long
	ending   bool
	closed   bool
	farewell bool // the server has said why it ends the session
	err      error
	deferred []deferred // while later says so
	later    bool
	noted    string // name of the approval request that was told last
	commands uint64
	sequence uint64 // numbers segments
	names    names
	verdicts map[string]*judged
	// skeletons are verdicts that hold whatever the constants are, by their query strings' skeletons.
	skeletons map[string]*judged
	skeleton  []byte // scratch
	// cachedText is the length of the texts in both.
	cachedText int
	// remembered are the statements that have their verdict with them, of which the one at forgotten is the oldest.
	remembered [maxStatements]*statement
	forgotten  int
	nameWork   int // forwarded statements that have yet to change names by SQL
	state      sql.State
	version    uint64 // of state and temps
	formats    formats
	path       string // canonical search_path; initial is the one that the server gives to who asks for none
	initial    string
	stale      bool // the search path or role may have changed
	touched    bool // they changed inside the open transaction
	// temps are the session's temporary relations, nil while they are not known; layered is temps over under.
	temps, layered, under *catalogue.Catalogue

	tempStale bool // temps has to be read
	sensitive bool // the open transaction has touched protected columns
	altering  bool // this session's statements may be changing the catalogue
	// refreshed counts the refreshes that the message at the front has seen: a new path may need the catalogue.
	refreshed int
}

// segment is a run of extended-query messages up to their Sync, on the agent's side.
type segment struct {
	number   uint64
	open     bool // something was forwarded
	bound    int  // Binds and Executes forwarded: the server may hold locks and unfinished work
	executed int
	flushed  bool // the server was told to send all it has
	skip     bool // refused or failed: everything up to Sync is dropped
	reformed bool // what was forwarded may have changed the formats
	// closed is the number of an earlier part of this segment that the core itself ended by a hidden Sync.
	closed uint64
}

// Fatal ends the session with a word to the agent.
func (c *Core) Fatal(code, message string) { c.fatal(code, message) }

// New returns a session whose server has just sent its first ReadyForQuery, idle.
func New(cfg Config) *Core {
	c := &Core{
		cfg:    cfg,
		masker: mask.NewMasker(cfg.HashKey),
		tx:     txIdle,
		bounds: usualBounds,
		state: sql.State{
			SearchPath: cfg.SearchPath, User: cfg.User,
			StandardConformingStrings: cfg.Parameters["standard_conforming_strings"] != "off",
		},
		verdicts: make(map[string]*judged), skeletons: make(map[string]*judged),
	}
	c.path = pathText(cfg.SearchPath, cfg.User)
	if !cfg.PathChosen {
		c.initial = c.path
	}
	for name, value := range cfg.Parameters {
		c.formats.set(name, value)
	}
	c.names.init()
	c.nextSegment()
	return c
}

func (c *Core) nextSegment() {
	c.sequence++
	c.segment = segment{number: c.sequence}
}

// Agent takes bytes that the agent sent. What cannot be handled yet is kept; while Wait is not WaitNone the
// driver should not read more. ToServer, and RecordNow after RecordLater, have to be called before p is changed.
func (c *Core) Agent(p []byte) {
	if c.closed {
		return
	}
	if len(c.in) == 0 {
		n := c.take(p)
		c.in = append(c.in, p[n:]...)
		return
	}
	c.in = append(c.in, p...)
	c.resume()
}

// resume goes on with what was kept.
func (c *Core) resume() {
	if c.closed || len(c.in) == 0 {
		return
	}
	n := c.take(c.in)
	c.toServer.settle()
	c.readAll()
	rest := copy(c.in, c.in[n:])
	c.in = c.in[:rest]
	if rest == 0 && cap(c.in) > keep {
		c.in = nil
	}
}

// Server takes bytes that the server sent. ToAgent has to be called before p is changed. The error, the same
// for ever after, says that the session is over.
func (c *Core) Server(p []byte) error {
	if c.closed {
		return c.err
	}
	c.serve(p)
	if c.wait == WaitServer && !c.closed {
		c.wait = WaitNone
		c.resume()
	}
	return c.err
}

// ToAgent returns what has to be sent to the agent. spare is a buffer that the core may write into from now on,
// in place of the one that out is in; reuse can be spare again once out has been sent.
func (c *Core) ToAgent(spare []byte) (out, reuse []byte) { return c.toAgent.take(spare) }

// ToServer returns what has to be sent to the server, as ToAgent does.
func (c *Core) ToServer(spare []byte) (out, reuse []byte) { return c.toServer.take(spare) }

// Pending tells whether there is something for the agent or for the server.
func (c *Core) Pending() (agent, server bool) { return !c.toAgent.empty(), !c.toServer.empty() }

// Wait is what the session waits for.
func (c *Core) Wait() WaitKind { return c.wait }

// Ask is what people have to decide on, while Wait is WaitApproval.
func (c *Core) Ask() session.Ask { return c.pending.ask }

// Cancelling reports, once, that the statement that runs upstream has to be cancelled: by Cancel, then Cancelled. One that
// has ended by now is not: the request would hit what comes behind it.
func (c *Core) Cancelling() bool {
	was := c.cancel && c.dropping
	c.cancel = false
	return was
}

// Cancel says that a cancel request is on its way to the server. Until Cancelled, nothing more goes there: the
// request names no statement, and would hit the next one.
func (c *Core) Cancel() { c.cancels++ }

// Cancelled ends what Cancel began.
func (c *Core) Cancelled() {
	if c.cancels--; c.wait == WaitServer {
		c.wait = WaitNone
		c.resume()
	}
}

// Ended tells whether the session is over, once what there is for either side has been sent; Err says why if
// neither side wished it.
func (c *Core) Ended() bool { return c.closed || c.ending }

// Err is why the session broke.
func (c *Core) Err() error { return c.err }

// Refusing tells, while Wait is WaitFlush, that what is recorded is a refusal, which stands however that goes: it
// need not be waited for long.
func (c *Core) Refusing() bool { return c.pending != nil && c.pending.refusal != nil }

// Flushed says how it went to make the records safe.
func (c *Core) Flushed(err error) {
	if c.wait != WaitFlush {
		return
	}
	c.wait = WaitNone
	c.pending.flushed, c.pending.flushErr = true, err
	c.resume()
}

// ErrCancelled is for Decided: the agent cancelled its statement.
var ErrCancelled = errors.New("cancelled by the agent")

// Noted tells the agent the name of the request that its statement waits for.
func (c *Core) Noted(request string) {
	if c.wait == WaitApproval {
		c.note(request)
	}
}

// Decided says how people decided: a grant, or an error that wraps one of session's, or ErrCancelled.
func (c *Core) Decided(grant *session.Grant, err error) {
	if c.wait != WaitApproval {
		return
	}
	c.wait = WaitNone
	c.pending.grant, c.pending.decision, c.pending.decided = grant, err, true
	c.resume()
}

// Lost says that the server has hung up. The agent is told, unless the server has said so itself.
func (c *Core) Lost(cause string) {
	if !c.closed && !c.ending && !c.farewell {
		c.fatal(codeConnectionFailure, "the database server has closed the connection: "+cause)
	}
}

// Close ends the session from outside: results that never came are recorded as such.
func (c *Core) Close(why error) {
	c.RecordNow()
	for c.queue.len() > 0 {
		if o := c.queue.front(); o.run.command != 0 {
			c.finish(&o.run, "", "", "the session ended before the result")
		}
		c.queue.pop()
	}
	c.closed = true
	if c.err == nil {
		c.err = why
	}
	c.altered()
}

// rules returns the rules as of now.
func (c *Core) rules() *Rules {
	if r := c.cfg.Rules(); r != c.compiled {
		c.compiled = r
		c.forgetVerdicts()
	}
	return c.compiled
}

// fatal tells the agent why its session ends here, and ends it.
func (c *Core) fatal(code, message string) {
	if c.closed {
		return
	}
	c.toAgent.put(encodeError(c.toAgent.own(), "FATAL", refusal{code: code, message: message}))
	c.closed = true
	c.err = errors.New(message)
	c.altered()
}

// brokenf ends the session because the server's bytes make no sense.
func (c *Core) brokenf(format string, args ...any) {
	c.fatal(codeProtocolViolation, "the database server broke the protocol: "+fmt.Sprintf(format, args...))
}

// recording is the destination's recording section; the default where there are no rules any more.
func (c *Core) recording() policy.Recording {
	if r := c.compiled; r != nil {
		return r.destination.Recording()
	}
	return policy.Recording{Durability: policy.Spool, OnFailure: policy.Block}
}
