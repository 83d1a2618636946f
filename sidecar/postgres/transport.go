package postgres

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// transport is a connection, or the memory that takes its place under a TLS connection once an event loop has its
// socket: then the loop puts in what it received, and takes what is to be sent.
type transport struct {
	net.Conn
	in       []byte // received and not yet taken
	out      []byte // to be sent
	detached bool
}

// errAgain says that nothing more was received. crypto/tls goes on after an error that is temporary.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing more was received" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (t *transport) Read(p []byte) (int, error) {
	if len(t.in) > 0 {
		n := copy(p, t.in)
		t.in = t.in[n:]
		return n, nil
	}
	if t.detached {
		return 0, errAgain
	}
	return t.Conn.Read(p)
}

func (t *transport) Write(p []byte) (int, error) {
	if t.detached {
		t.out = append(t.out, p...)
		return len(p), nil
	}
	return t.Conn.Write(p)
}

// CloseWrite closes the writing half, where the connection has one.
func (t *transport) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok && !t.detached {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

func (t *transport) Close() error {
	if t.detached {
		return nil
	}
	return t.Conn.Close()
}

// Nobody waits for memory.

func (t *transport) SetDeadline(at time.Time) error {
	if t.detached {
		return nil
	}
	return t.Conn.SetDeadline(at)
}

func (t *transport) SetReadDeadline(at time.Time) error {
	if t.detached {
		return nil
	}
	return t.Conn.SetReadDeadline(at)
}

func (t *transport) SetWriteDeadline(at time.Time) error {
	if t.detached {
		return nil
	}
	return t.Conn.SetWriteDeadline(at)
}

// under finds the transport of a connection that greet or connect made, the TLS connection over it, if there is one,
// and what was received before and not yet taken. It is nil for any other connection, and where there is no socket.
func under(conn net.Conn) (t *transport, secure *tls.Conn, early []byte) {
	if a, ok := conn.(*ahead); ok {
		conn, early = a.Conn, a.buf
	}
	if c, ok := conn.(*tls.Conn); ok {
		conn, secure = c.NetConn(), c
	}
	t, ok := conn.(*transport)
	if !ok {
		return nil, nil, nil
	}
	if _, ok := t.Conn.(syscall.Conn); !ok {
		return nil, nil, nil
	}
	return t, secure, early
}

// detach takes the socket away from the runtime's own poller: it returns a descriptor that belongs to the caller.
func (t *transport) detach(dup func(fd int) (int, error)) (fd int, err error) {
	socket, ok := t.Conn.(syscall.Conn)
	if !ok {
		return -1, errors.New("a connection without a socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	var inner error
	if err := raw.Control(func(s uintptr) { fd, inner = dup(int(s)) }); err != nil {
		return -1, err
	}
	if inner != nil {
		return -1, inner
	}
	t.detached = true
	// The socket lives on by its other descriptor.
	return fd, t.Conn.Close()
}
