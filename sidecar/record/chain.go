package record

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cutAge is how long an event waits for others to share its chunk: with the way to the operator, it is there
	// within the second that the policy's durability Spool promises.
	cutAge = 700 * time.Millisecond
	// againAge is how much longer, while others are being written.
	againAge = 20 * time.Millisecond
	// retryAge is how long a disk that refused a chunk is left alone.
	retryAge = time.Second
	// reserveStep is the least room that is reserved at once for events not yet cut.
	reserveStep = 16 << 10
	// closingRoom is what a log takes from the budget when it opens: directory, meta and the reserved file in which
	// it is closed when nothing else can be written.
	closingRoom = 3 * block
	// smallBuffer is what an idle chain may keep.
	smallBuffer = 32 << 10
)

var errFull = errors.New("the spool is full")

// chain is one log of the operator: an hour of a Log, or a terminal.
type chain struct {
	spool *Spool
	meta  Meta
	files chainFiles
	held  int64 // of closingRoom, what is still to be given back; guarded by sending
	start time.Time
	until time.Time // when the next chain follows; zero: never

	abandoned atomic.Bool           // the operator can take no more of it
	failure   atomic.Pointer[error] // why the last chunk could not be written; nil when it could

	// The open chunk; guarded by the Log's appending.
	raw, spare  []byte
	full        piece // what was open before and waits to be written; without text: nothing does
	writers     int   // who writes, or has just written
	reserved    int64
	counts      Counts
	events      int64
	connections uint32
	missing     int64
	decided     decided
	age, expiry *time.Timer

	cutting sync.Mutex // orders the chunks; guards what follows. May be taken with appending held, not before it
	next    uint64
	hash    []byte
	stuck   []piece // cut, but not written: at most four, as nothing is appended meanwhile

	delivery
}

// piece is the text of a chunk.
type piece struct {
	text     []byte
	reserved int64
	counts   Counts
	events   int64
}

// newChain opens a log.
func (s *Spool) newChain(l *Log, now time.Time) (*chain, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	o := &l.options
	c := &chain{
		spool: s, start: now, held: closingRoom, delivery: newDelivery(),
		meta: Meta{
			Log: hex.EncodeToString(id[:]), Target: o.Target, Protocol: o.Protocol, Policies: o.Policies,
			Start: now.UTC(), Terminal: o.Terminal, User: o.User,
		},
	}
	if !s.take(closingRoom) {
		return nil, errFull
	}
	files, err := createFiles(s.options.Dir, c.meta)
	if err != nil {
		s.give(closingRoom)
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	c.files = files
	if !o.Terminal {
		c.until = now.Truncate(s.period).Add(s.period)
		c.expiry = time.AfterFunc(c.until.Sub(now), func() { l.expire(c) })
	}
	c.age = time.AfterFunc(time.Hour, func() { c.ripe(l) })
	c.age.Stop()
	s.start(c)
	return c, nil
}

// broken returns why the chain cannot be written to.
func (c *chain) broken() error {
	if err := c.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// append adds an event, and before it how many are missing. Called with appending held.
func (c *chain) append(l *Log, e *Event, now time.Time) error {
	if err := c.broken(); err != nil {
		return err
	}
	if l.lost == 0 {
		return c.add(e, now)
	}
	before, events := len(c.raw), c.events
	if err := c.add(&Event{Kind: KindLost, Error: missing(l.lost, l.lostWhy)}, now); err != nil {
		return err
	}
	if err := c.add(e, now); err != nil {
		c.raw, c.events = c.raw[:before], events // said once, when there is room for more
		return err
	}
	c.missing += l.lost
	l.lost, l.lostWhy = 0, nil
	return nil
}

func missing(n int64, why error) string {
	return fmt.Sprintf("%s missing: %v", count(n, "event is", "events are"), why)
}

// room tells whether that many events would find room.
func (c *chain) room(events int) bool {
	more := framed(len(c.raw)+events*maxEvent) - c.reserved
	return more <= 0 || c.spool.used.Load()+max(more, reserveStep) <= c.spool.options.Budget
}

// keep is add for an event that is kept whether or not there is room for it.
func (c *chain) keep(e *Event, now time.Time) {
	before := len(c.raw)
	c.encode(e, now)
	if need := framed(len(c.raw)); need > c.reserved {
		more := max(need-c.reserved, reserveStep)
		c.spool.give(-more)
		c.reserved += more
	}
	c.added(e, before)
}

// add encodes an event into the open chunk, for which there is room.
func (c *chain) add(e *Event, now time.Time) error {
	before := len(c.raw)
	c.encode(e, now)
	if need := framed(len(c.raw)); need > c.reserved {
		more := max(need-c.reserved, reserveStep)
		if !c.spool.take(more) {
			c.raw = c.raw[:before]
			return errFull
		}
		c.reserved += more
	}
	c.added(e, before)
	return nil
}

// added counts an event behind the first before bytes of the open chunk.
func (c *chain) added(e *Event, before int) {
	c.counts.add(e)
	c.events++
	if before == 0 {
		c.age.Reset(cutAge)
	}
}

func (c *chain) encode(e *Event, now time.Time) {
	e.Time = max(0, now.Sub(c.start).Seconds())
	before := len(c.raw)
	if c.raw = appendRemembered(c.raw, e, &c.decided); len(c.raw)-before > maxEvent {
		c.raw = appendBounded(c.raw[:before], e)
	}
}

// framed is the most that a text of n bytes takes of the volume: zstd adds three bytes to a block of 128 KiB that
// does not compress, the chunk's header has less than 1 KiB.
func framed(n int) int64 { return blocks(n + n/1024 + 2<<10) }

// ripe cuts what has waited long enough, and tries again what could not be written.
func (c *chain) ripe(l *Log) {
	l.appending.Lock()
	defer l.appending.Unlock()
	switch {
	case l.chain != c:
	case c.writers > 0: // who records would have to wait for them, too
		c.age.Reset(againAge)
	default:
		c.cut(l)
	}
}

// cutBehind has what is there made a chunk by a goroutine, so that who appends need not wait for it. One chunk may wait
// for its turn; while it does, this waits as cut does. Called with appending held.
func (c *chain) cutBehind(l *Log) {
	if len(c.full.text) > 0 {
		c.cut(l)
		return
	}
	c.full = c.takeOpen()
	if c.writers == 0 { // else the last of them sees to it
		go c.putFull(l)
	}
}

func (c *chain) putFull(l *Log) {
	l.appending.Lock()
	defer l.appending.Unlock()
	if c.writers == 0 && len(c.full.text) > 0 { // nobody has been here before
		c.put(l, c.takeFull())
	}
}

// cut makes a chunk of what is there. Called with appending held, which it lets go while it packs and writes, so
// that others go on appending to the next chunk. When it returns, all is written that was there, or is stuck: also what
// somebody else was writing.
func (c *chain) cut(l *Log) {
	if len(c.raw) == 0 && len(c.full.text) == 0 && c.writers == 0 && c.broken() == nil {
		return
	}
	c.put(l, c.takeFull(), c.takeOpen())
}

// put writes pieces. Called with appending held, which it lets go meanwhile: after it has taken cutting, so that nobody's
// later pieces come before.
func (c *chain) put(l *Log, pieces ...piece) {
	c.cutting.Lock()
	c.writers++
	l.appending.Unlock()
	err := c.write(pieces...)
	c.cutting.Unlock()
	l.appending.Lock()
	if err != nil {
		c.writers--
		c.age.Reset(retryAge)
		return
	}
	for _, p := range pieces {
		if len(c.raw) == 0 && len(p.text) < smallBuffer/2 && cap(p.text) > smallBuffer {
			continue
		}
		if cap(c.spare) == 0 {
			c.spare = p.text[:0]
		}
	}
	c.rested(l)
}

// rested ends somebody's writing. Called with appending held.
func (c *chain) rested(l *Log) {
	if c.writers--; c.writers == 0 && len(c.full.text) > 0 {
		go c.putFull(l)
	}
}

// takeOpen takes the open chunk's text away and leaves room for the next, takeFull what waits to be written. Called with
// appending held; what is taken has to be put before it is let go.
func (c *chain) takeOpen() piece {
	p := piece{text: c.raw, reserved: c.reserved, counts: c.counts, events: c.events}
	c.raw, c.spare, c.reserved, c.events = c.spare, nil, 0, 0
	return p
}

func (c *chain) takeFull() piece {
	p := c.full
	c.full = piece{}
	return p
}

// write writes pieces, and before them those that are stuck. Called with cutting held.
func (c *chain) write(pieces ...piece) error {
	queue := c.stuck
	for _, p := range pieces {
		if len(p.text) > 0 {
			queue = append(queue, p)
		}
	}
	for len(queue) > 0 {
		if err := c.store(queue[0], queue[0].text, false, c.files.write); err != nil {
			err = fmt.Errorf("writing to the spool: %w", err)
			c.stuck = queue
			c.failure.Store(&err)
			return err
		}
		queue = queue[1:]
	}
	c.stuck = nil
	c.failure.Store(nil)
	return nil
}

// store packs a text, chains it and gives it to the sender. Called with cutting held.
func (c *chain) store(p piece, text []byte, last bool, write func(uint64, []byte) error) error {
	b := buffers.Get().(*packed)
	defer buffers.Put(b)
	payload, err := pack(b.payload[:0], text)
	if err != nil {
		return err
	}
	b.payload = payload
	sum := Sum(c.next, c.hash, payload)
	frame, err := AppendChunk(b.frame[:0], &Chunk{
		Number: c.next, Previous: c.hash, Hash: sum[:], Payload: payload, Counts: p.counts, Last: last,
	})
	if err != nil {
		return err
	}
	b.frame = frame
	if err := write(c.next, frame); err != nil {
		return err
	}
	size := blocks(len(frame))
	c.spool.give(p.reserved - size)
	c.next++
	c.hash = sum[:]
	c.written(spooled{size, p.events}, last)
	return nil
}
