package postgres

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// eventLoop runs established sessions in one goroutine, which costs two wake-ups of a goroutine less in each direction
// than a goroutine does that waits for each side. Everything about its sessions happens in it, but for what is slow: that
// is done by other goroutines, whose results come back by post.
//
// Descriptors are watched level-triggered, so that one recv an event is enough. System calls that do not block, and
// waits while there is something to do, are made without telling the runtime, which would have another thread take over;
// only when nothing has happened for a while does the loop block by the runtime's books. Until then the runtime has its
// signal for goroutines that run on: it interrupts the wait, when garbage is collected, or when the wait has taken 10 ms.
// (No timer has to be set for that, twice for each query.)
//
// The goroutine keeps its thread for as long as the runtime lets it, and is not locked to it: every 10 ms the runtime
// takes the processor from a goroutine that never waits, and a locked one gets it back by two more switches of threads.
type eventLoop struct {
	mu       sync.Mutex // guards posted, running and wakeFD
	posted   []func()
	running  bool
	sleeping atomic.Bool
	wakeFD   int

	// The loop's own.
	parallel bool // another thread can run meanwhile
	// interrupted says that the last wait was, and that nothing has come since.
	interrupted bool
	epoll       int
	ends        []*end // by slot
	free        []int
	sessions    map[*looped]struct{}
	buf         []byte // what was received
	clear       []byte // the same, decrypted
	spare       []byte // for the cores' output
	stalled     time.Time
	// gathering are the ends that wake for more than a byte.
	gathering []*end
	timing    bool // watchTime will be called
}

const (
	// briefWait is how long the loop still waits without blocking in the runtime's eyes once it was interrupted.
	briefWait = 2 * time.Millisecond
	// stallCheck is how often peers are looked at that do not take what they are sent.
	stallCheck = time.Second
	// openAgain is how long the loop waits for descriptors of its own.
	openAgain = 50 * time.Millisecond
)

// post has f called in the loop. It starts the loop where none runs.
func (l *eventLoop) post(f func()) {
	l.mu.Lock()
	l.posted = append(l.posted, f)
	if !l.running {
		l.running = true
		go l.run()
	}
	// Under the lock, because the descriptor is closed under it.
	if l.sleeping.Swap(false) {
		one := [8]byte{1}
		_, _ = unix.Write(l.wakeFD, one[:]) // full: it is awake
	}
	l.mu.Unlock()
}

// run serves until there is nothing left to serve.
func (l *eventLoop) run() {
	for l.open() != nil { // out of descriptors, until some session has ended
		time.Sleep(openAgain)
	}
	var events [128]unix.EpollEvent
	busy := true
	for l.catchUp() {
		n := l.wait(events[:], busy)
		busy = n != 0
		for i := range events[:max(n, 0)] {
			slot := int(events[i].Fd)
			if slot < 0 {
				l.drainWake()
				continue
			}
			if e := l.ends[slot]; e != nil && e.generation == events[i].Pad {
				e.session.guard(func() { e.session.event(e, events[i].Events) })
				e.session.fail()
			}
		}
		l.checkGathering()
		l.checkStalled()
	}
}

func (l *eventLoop) open() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		unix.Close(l.epoll)
		return err
	}
	l.mu.Lock()
	l.wakeFD = fd
	l.mu.Unlock()
	l.sessions = make(map[*looped]struct{})
	l.ends, l.free = nil, nil
	l.buf, l.clear = make([]byte, bufferSize), make([]byte, bufferSize+maxRecord)
	return nil
}

// catchUp does what was posted by now; false when the loop has nothing left to do and has ended.
func (l *eventLoop) catchUp() bool {
	for {
		l.mu.Lock()
		todo := l.posted
		l.posted = nil
		if len(todo) == 0 {
			over := len(l.sessions) == 0
			if over {
				l.running = false
				l.sleeping.Store(false)
				unix.Close(l.wakeFD)
				unix.Close(l.epoll)
				l.buf, l.clear, l.spare = nil, nil, nil
			}
			l.mu.Unlock()
			return !over
		}
		l.mu.Unlock()
		for _, f := range todo {
			f()
		}
		if len(l.sessions) > 0 { // however much is posted meanwhile, sockets have their turn
			return true
		}
	}
}

// preemptible says that the runtime interrupts goroutines that run on.
var preemptible = !strings.Contains(os.Getenv("GODEBUG"), "asyncpreemptoff=1")

// wait waits for events; less than none: it was interrupted. busy says that there were some just now.
func (l *eventLoop) wait(events []unix.EpollEvent, busy bool) int {
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	l.mu.Lock()
	more := len(l.posted) > 0
	l.mu.Unlock()
	if more {
		return rawEpollWait(l.epoll, events, 0)
	}
	if busy && l.parallel {
		limit := -1
		switch {
		case len(l.gathering) > 0:
			limit = int(bulkWait.Milliseconds())
		case l.interrupted || !preemptible || !l.stalled.IsZero():
			limit = int(briefWait.Milliseconds())
		}
		n := rawEpollWait(l.epoll, events, limit)
		l.interrupted = n < 0
		return n
	}
	l.parallel = runtime.GOMAXPROCS(0) > 1 // which takes a lock of the scheduler's
	limit := -1
	switch {
	case len(l.gathering) > 0:
		limit = int(bulkWait.Milliseconds())
	case !l.stalled.IsZero():
		limit = int(stallCheck.Milliseconds())
	}
	n, _ := unix.EpollWait(l.epoll, events, limit) // interrupted: as if nothing had happened
	return max(n, 0)
}

func (l *eventLoop) drainWake() {
	var p [8]byte
	_, _ = unix.Read(l.wakeFD, p[:])
}

// checkStalled ends sessions with a peer that has taken nothing for too long.
func (l *eventLoop) checkStalled() {
	if l.stalled.IsZero() {
		return
	}
	now := time.Now()
	if now.Sub(l.stalled) < stallCheck {
		return
	}
	l.stalled = time.Time{}
	for s := range l.sessions {
		for _, e := range []*end{&s.toAgent, &s.toServer} {
			if !e.pending() {
				continue
			}
			l.stalled = now
			if !e.progress.IsZero() && now.Sub(e.progress) > s.opts.WriteTimeout {
				s.guard(func() { s.gone(e) })
				s.fail()
				break
			}
		}
	}
}

// watch adds an end.
func (l *eventLoop) watch(e *end) error {
	if n := len(l.free); n > 0 {
		e.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		e.slot = len(l.ends)
		l.ends = append(l.ends, nil)
	}
	l.generation(e)
	l.ends[e.slot] = e
	e.watched, e.interest = true, 0
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, e.fd, &unix.EpollEvent{Events: 0, Fd: int32(e.slot), Pad: e.generation})
}

var generations atomic.Int32

// generation tells an end from the one that had its slot before.
func (*eventLoop) generation(e *end) { e.generation = generations.Add(1) }

// want changes what is waited for.
func (l *eventLoop) want(e *end, interest uint32) {
	if interest == e.interest && e.watched {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if !e.watched {
		if interest == 0 {
			return
		}
		op, e.watched = unix.EPOLL_CTL_ADD, true
	}
	e.interest = interest
	_ = unix.EpollCtl(l.epoll, op, e.fd, &unix.EpollEvent{Events: interest, Fd: int32(e.slot), Pad: e.generation})
}

// rest stops watching an end that has hung up, which cannot be left unwatched otherwise, until something is wanted.
func (l *eventLoop) rest(e *end) {
	if e.watched {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, e.fd, nil)
		e.watched, e.interest = false, 0
	}
}

// leave forgets an end. Its descriptor stays open.
func (l *eventLoop) leave(e *end) {
	l.scatter(e)
	l.rest(e)
	l.ends[e.slot] = nil
	l.free = append(l.free, e.slot)
}
