package postgres

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A server sends a long result in pieces of 8 KiB (PQ_SEND_BUFFER_SIZE in src/backend/libpq/pqcomm.c). To be woken for each
// costs a wait, a recv and a send for each, and the server the waking: where that goes on for long, the socket is asked to
// wake when several have come, by SO_RCVLOWAT (socket(7)). What comes at the end and is less than that waits for bulkWait.
const (
	// bulkPiece is the least that is received at once while a server sends without a pause.
	bulkPiece = 8 << 10
	// bulkAfter is how much has to come so before pieces are gathered: in the time that this much takes, bulkWait is little.
	bulkAfter = 2 << 20
	// bulkAgain is how much, where the server had paused for longer than bulkWait.
	bulkAgain = bufferSize
	// bulkLeast is how much is gathered, and leaves room for what comes meanwhile.
	bulkLeast = bufferSize / 2
	// bulkWait is how long less waits: the least that epoll_wait(2) can.
	bulkWait = time.Millisecond
)

// gather notes that n bytes have come from a server.
func (l *eventLoop) gather(e *end, n int) {
	switch {
	case e.gathers && n < bulkPiece: // the end of it, or a pause
		l.scatter(e)
	case e.gathers:
		e.gathered = time.Now()
	case n == 0:
	case n < bulkPiece:
		e.streak = 0
	default:
		if e.streak += n; e.streak < bulkAfter || unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, bulkLeast) != nil {
			return
		}
		e.gathers, e.gathered = true, time.Now()
		l.gathering = append(l.gathering, e)
	}
}

// asked notes that the server is sent something: what comes now may be an answer of its own, and its end is not to wait.
// Short results that follow each other look like a long one otherwise, when the end of each comes with the piece before.
func (l *eventLoop) asked(e *end) {
	l.scatter(e)
	e.streak = 0
}

// scatter has an end wake for every byte again.
func (l *eventLoop) scatter(e *end) {
	if !e.gathers {
		return
	}
	e.gathers, e.streak = false, bulkAfter-bulkAgain
	_ = unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1) // as it was
	l.gathering = slices.DeleteFunc(l.gathering, func(other *end) bool { return other == e })
	if e.watched { // so that epoll looks again at what has come meanwhile
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, e.fd, &unix.EpollEvent{Events: e.interest, Fd: int32(e.slot), Pad: e.generation})
	}
}

// checkGathering takes what has waited for more to come for long enough.
func (l *eventLoop) checkGathering() {
	if len(l.gathering) == 0 {
		return
	}
	now := time.Now()
	for _, e := range slices.Clone(l.gathering) {
		switch {
		case !e.gathers: // its session has ended meanwhile
		case e.interest&unix.EPOLLIN == 0: // its time begins when it is read from again
			e.gathered = now
		case now.Sub(e.gathered) >= bulkWait:
			s := e.session
			s.guard(func() { s.event(e, unix.EPOLLIN) })
			s.fail()
		}
	}
}
