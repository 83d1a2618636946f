package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// recordHandshake begins every TLS connection (RFC 8446 5.1).
	recordHandshake = 22
	// maxHello bounds a ClientHello with its record headers: key shares of today's hybrids take some 2 KiB, and
	// crypto/tls itself takes at most 64 KiB.
	maxHello = 32 << 10
	// helloTimeout bounds a ClientHello from its first byte to its last.
	helloTimeout = 10 * time.Second
)

var (
	errSeen      = errors.New("the ClientHello was seen")
	errLongHello = errors.New("the TLS ClientHello is longer than 32 KiB")
)

// peek waits for what the agent says first, for as long as it likes, and returns it with the ClientHello that it is,
// if it is TLS. What begins like TLS and is none is an error: it could be so to somebody else.
func peek(agent net.Conn) ([]byte, *tls.ClientHelloInfo, error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(agent, first); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	if first[0] != recordHandshake {
		return first, nil, nil
	}
	if err := agent.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, nil, err
	}
	seen := &listening{Conn: agent, seen: bytes.NewBuffer(first), unread: first}
	var hello *tls.ClientHelloInfo
	err := tls.Server(seen, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, errSeen
	}}).HandshakeContext(context.Background())
	if hello == nil {
		return nil, nil, err
	}
	if err := agent.SetReadDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	return seen.seen.Bytes(), hello, nil
}

// listening keeps what is read from the agent and says nothing to it.
type listening struct {
	net.Conn
	seen   *bytes.Buffer
	unread []byte
}

func (l *listening) Read(b []byte) (int, error) {
	if len(l.unread) > 0 {
		n := copy(b, l.unread)
		l.unread = l.unread[n:]
		return n, nil
	}
	if l.seen.Len() > maxHello {
		return 0, errLongHello
	}
	n, err := l.Conn.Read(b)
	l.seen.Write(b[:n])
	return n, err
}

// Write drops the alert that crypto/tls sends when it is told to stop.
func (l *listening) Write(b []byte) (int, error) { return len(b), nil }
