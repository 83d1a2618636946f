package kube

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// link is a connection of its own to the API server, for a request that is to be upgraded.
type link struct {
	net.Conn
	// reader reads from it: no more than a header until unbounded is called.
	reader *bufio.Reader
	header io.LimitedReader
}

func newLink(conn net.Conn) *link {
	l := &link{Conn: conn, header: io.LimitedReader{R: conn, N: maxHeader}}
	l.reader = bufio.NewReaderSize(&l.header, 4<<10)
	return l
}

func (l *link) unbounded() { l.header.N = math.MaxInt64 }

// spareAge is how long a connection is kept for the next upgrade. An API server ends one that brings no request within 32 s
// (k8s.io/apiserver, ReadHeaderTimeout).
const spareAge = 20 * time.Second

// spares has a connection open before somebody needs it: every exec has its own, and an agent that runs one command after
// another would wait for a TLS handshake each time. There is one at most, and only while upgrades come.
type spares struct {
	age time.Duration

	mu      sync.Mutex // guards what follows
	last    time.Time  // when an upgrade was last prepared for
	opening bool
	waiting *spare
}

// spare is a link that waits.
type spare struct {
	*link
	// over is closed once nobody reads from the link, and err is why.
	over chan struct{}
	err  error
}

// prepare opens a connection for the next upgrade, if the one before this was not long ago.
func (s *spares) prepare(timeout time.Duration, connect func(context.Context) (*link, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	busy := !s.last.IsZero() && now.Sub(s.last) < s.age
	s.last = now
	if !busy || s.opening || s.waiting != nil {
		return
	}
	s.opening = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		l, err := connect(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opening = false
		if err != nil { // the next upgrade says so, if it is still so
			return
		}
		kept := &spare{link: l, over: make(chan struct{})}
		s.waiting = kept
		go kept.watch()
		time.AfterFunc(s.age, func() { s.drop(kept) })
	}()
}

// take returns the connection that waits, nil where none is fit for use.
func (s *spares) take() *link {
	s.mu.Lock()
	kept := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if kept == nil {
		return nil
	}
	if !kept.quiet() {
		kept.Close()
		return nil
	}
	return kept.link
}

// drop closes the spare if it still waits.
func (s *spares) drop(kept *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == kept {
		s.waiting = nil
		kept.Close()
	}
}

// watch takes what comes behind a handshake, and notices a server that hangs up or speaks unasked.
func (s *spare) watch() {
	defer close(s.over)
	_, s.err = s.reader.Peek(1)
}

// quiet ends the watch, and tells whether nothing happened.
func (s *spare) quiet() bool {
	_ = s.SetReadDeadline(time.Unix(1, 0))
	<-s.over
	_ = s.SetReadDeadline(time.Time{})
	return errors.Is(s.err, os.ErrDeadlineExceeded)
}

// connect opens a connection.
func (u *upstream) connect(ctx context.Context) (*link, error) {
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, u.pool.upgraded)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return newLink(secured), nil
}

// link returns a connection for a request that is to be upgraded.
func (u *upstream) link(ctx context.Context, timeout time.Duration) (*link, error) {
	if l := u.pool.spares.take(); l != nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return u.connect(ctx)
}

// another prepares for the next upgrade.
func (u *upstream) another(timeout time.Duration) { u.pool.spares.prepare(timeout, u.connect) }
