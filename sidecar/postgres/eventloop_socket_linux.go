package postgres

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRecord is the most that a TLS connection may have kept of a record, beyond what was received now (RFC 8446,
// section 5.1).
const maxRecord = 32 << 10

// end is one side of a session in an event loop.
type end struct {
	session    *looped
	fd         int
	slot       int
	generation int32
	watched    bool
	interest   uint32

	secure *tls.Conn  // nil without TLS
	memory *transport // what secure is over

	out      []byte // for the socket, from sent on
	sent     int
	backlog  []byte // not yet encrypted, from done on
	done     int
	progress time.Time // when the socket last took something, while something is pending

	streak   int       // bytes received without a pause
	gathers  bool      // the socket wakes for bulkLeast bytes
	gathered time.Time // when they last came
}

// receive takes what has come, once. p is valid until the loop receives again.
func (l *eventLoop) receive(e *end) (p []byte, err error) {
	n, errno := rawRecv(e.fd, l.buf)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil, nil
	case errno != 0:
		return nil, errno
	case n == 0:
		err = io.EOF
	}
	if e.secure == nil {
		return l.buf[:n], err
	}
	e.memory.in = l.buf[:n]
	p, terr := l.decrypt(e)
	if terr != nil {
		err = terr
	}
	l.answer(e)
	return p, err
}

// decrypt reads all that the TLS connection has.
func (l *eventLoop) decrypt(e *end) (p []byte, err error) {
	have := 0
	for have < len(l.clear) {
		n, err := e.secure.Read(l.clear[have:])
		have += n
		if err == nil {
			continue
		}
		if errors.Is(err, errAgain) {
			return l.clear[:have], nil
		}
		return l.clear[:have], err
	}
	// Not with records of the size that they may have; what is left is read with what comes next.
	e.memory.in = bytes.Clone(e.memory.in)
	return l.clear[:have], nil
}

// answer sends what the TLS connection itself has to say.
func (l *eventLoop) answer(e *end) {
	if len(e.memory.out) > 0 {
		l.push(e)
	}
}

// pending tells whether there is something that the socket has not taken.
func (e *end) pending() bool {
	return e.sent < len(e.out) || e.done < len(e.backlog) || e.secure != nil && len(e.memory.out) > 0
}

// unsent is how much that is.
func (e *end) unsent() int { return len(e.out) - e.sent + len(e.backlog) - e.done + e.unanswered() }

// unanswered is how much of it is what the TLS connection itself has to say.
func (e *end) unanswered() int {
	if e.secure == nil {
		return 0
	}
	return len(e.memory.out)
}

// forget drops what is pending.
func (e *end) forget() { e.out, e.sent, e.backlog, e.done, e.memory.out = nil, 0, nil, 0, nil }

// send sends p, and keeps what the socket does not take. given says that p is the caller's no more.
func (l *eventLoop) send(e *end, p []byte, given bool) {
	switch {
	case len(p) == 0:
	case e.secure == nil && e.pending():
		e.out, e.sent = appendRest(e.out, e.sent, p), 0
	case e.secure == nil:
		n := l.try(e, p)
		switch {
		case n == len(p):
		case given:
			e.out, e.sent = p, n
		default:
			e.out, e.sent = append(e.out[:0], p[n:]...), 0
		}
	case e.pending():
		e.backlog, e.done = appendRest(e.backlog, e.done, p), 0
	default:
		e.backlog, e.done = p, 0
		l.push(e)
		if e.done < len(e.backlog) && !given {
			e.backlog, e.done = bytes.Clone(e.backlog[e.done:]), 0
		}
	}
}

// appendRest appends p to what is left of a buffer.
func appendRest(buf []byte, from int, p []byte) []byte {
	return append(buf[:copy(buf, buf[from:])], p...)
}

// push sends as much of what is pending as the socket takes. Of a TLS connection no more is encrypted at once than a
// buffer.
func (l *eventLoop) push(e *end) {
	for {
		if e.sent < len(e.out) {
			if e.sent += l.try(e, e.out[e.sent:]); e.sent < len(e.out) {
				return
			}
		}
		if cap(e.out) > maxKept {
			e.out = nil
		}
		e.out, e.sent = e.out[:0], 0
		if e.secure == nil {
			return
		}
		if len(e.memory.out) == 0 {
			if e.done == len(e.backlog) {
				e.backlog, e.done = nil, 0
				return
			}
			chunk := e.backlog[e.done:min(len(e.backlog), e.done+bufferSize)]
			e.done += len(chunk)
			if _, err := e.secure.Write(chunk); err != nil { // a connection that is broken says so when it is read, too
				e.backlog, e.done = nil, 0
				return
			}
		}
		e.out, e.memory.out = e.memory.out, e.out
	}
}

// maxKept is the largest buffer that a session keeps.
const maxKept = 2 * bufferSize

// try gives the socket what it takes of p, and notes since when it takes nothing. An error shows as an event, too.
func (l *eventLoop) try(e *end, p []byte) (n int) {
	for n < len(p) {
		k, errno := rawSend(e.fd, p[n:])
		if errno != 0 {
			if n > 0 || e.progress.IsZero() {
				e.progress = time.Now()
			}
			if l.stalled.IsZero() {
				l.stalled = time.Now()
			}
			return n
		}
		n += k
	}
	e.progress = time.Time{}
	return n
}

func rawRecv(fd int, p []byte) (int, unix.Errno) { return rawTransfer(unix.SYS_RECVFROM, fd, p, 0) }

func rawSend(fd int, p []byte) (int, unix.Errno) {
	return rawTransfer(unix.SYS_SENDTO, fd, p, unix.MSG_NOSIGNAL)
}

func rawTransfer(trap uintptr, fd int, p []byte, flags uintptr) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// rawEpollWait returns -1 where it was interrupted.
func rawEpollWait(epoll int, events []unix.EpollEvent, milliseconds int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0)
	switch errno {
	case 0:
		return int(n)
	case unix.EINTR:
		return -1
	}
	return 0
}
