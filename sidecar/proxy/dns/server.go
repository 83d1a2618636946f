package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Ruling is what is done with a query for a name.
type Ruling int

const (
	// Forward asks the nameservers.
	Forward Ruling = iota
	// NoSuchName answers that there is no such name, without asking anybody.
	NoSuchName
	// NotNow answers that it cannot be found out at the moment.
	NotNow
)

const (
	// maxInFlight bounds the queries under way; one takes some 10 KiB. A query over it is dropped and asked again.
	maxInFlight = 128
	// maxConnections bounds the TCP connections to the server.
	maxConnections = 32
	// idleTimeout ends a TCP connection on which nothing is asked (RFC 7766 6.2.3 says seconds).
	idleTimeout = 10 * time.Second
)

// Server answers the pod's queries.
type Server struct {
	Client *Client
	Names  *Names
	// Rule decides a name in canonical form; why is a sentence for the person who reads the answer.
	Rule func(name string) (r Ruling, why string)

	flight  chan struct{}
	streams chan struct{}
}

// Serve answers on the addresses (UDP and TCP) until ctx ends. It calls ready once all of them are bound, and
// returns the first error that is not ctx's.
func (s *Server) Serve(ctx context.Context, addresses []netip.AddrPort, ready func()) error {
	s.flight = make(chan struct{}, maxInFlight)
	s.streams = make(chan struct{}, maxConnections)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	defer serving.Wait()
	// What is bound is closed before it is waited for.
	var bound []interface{ Close() error }
	defer func() {
		for _, b := range bound {
			b.Close()
		}
	}()
	// Without MPTCP, which is on by default: its further subflows would be redirected each on its own.
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	for _, a := range addresses {
		packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			return fmt.Errorf("listening for DNS: %w", err)
		}
		bound = append(bound, packets)
		streams, err := config.Listen(ctx, "tcp", a.String())
		if err != nil {
			return fmt.Errorf("listening for DNS: %w", err)
		}
		bound = append(bound, streams)
		serving.Go(func() { cancel(s.packets(ctx, packets)) })
		serving.Go(func() { cancel(s.accept(ctx, streams.(*net.TCPListener), &serving)) })
	}
	ready()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// packets serves one UDP socket.
func (s *Server) packets(ctx context.Context, conn *net.UDPConn) error {
	// One byte more than a query may have, so that a longer one is told from one that fits.
	buf := make([]byte, maxQuery+1)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		select {
		case s.flight <- struct{}{}:
		default:
			continue
		}
		packet := append([]byte(nil), buf[:n]...)
		go func() {
			defer func() { <-s.flight }()
			if reply := s.answer(ctx, packet, "udp"); reply != nil {
				// The asker may be gone.
				_, _ = conn.WriteToUDPAddrPort(reply, from)
			}
		}()
	}
}

// accept serves one TCP listener.
func (s *Server) accept(ctx context.Context, listener *net.TCPListener, serving *sync.WaitGroup) error {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, or aborted before it was accepted.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case s.streams <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		serving.Go(func() {
			defer func() { <-s.streams }()
			s.stream(ctx, conn)
		})
	}
}

// stream answers the queries of one TCP connection, one after the other.
func (s *Server) stream(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		if conn.SetDeadline(time.Now().Add(idleTimeout)) != nil {
			return
		}
		packet, err := readFrame(conn, maxQuery)
		if err != nil {
			return
		}
		reply := s.answer(ctx, packet, "tcp")
		if reply == nil || conn.SetDeadline(time.Now().Add(idleTimeout)) != nil || writeFrame(conn, reply) != nil {
			return
		}
	}
}

// answer gives the reply to one packet, or nil when there is none.
func (s *Server) answer(ctx context.Context, packet []byte, network string) []byte {
	q, code, answered := parseQuery(packet)
	if !answered {
		return nil
	}
	if code != dnsmessage.RCodeSuccess {
		return q.reply(code, 0, "")
	}
	// The rule comes first: whether a type is served says nothing about a name that is not.
	switch ruling, why := s.Rule(q.name); ruling {
	case NoSuchName:
		return q.reply(dnsmessage.RCodeNameError, edeBlocked, why)
	case NotNow:
		return q.reply(dnsmessage.RCodeServerFailure, edeNotReady, why)
	}
	switch treatments[q.question.Type] {
	case unsupported:
		return q.reply(dnsmessage.RCodeNotImplemented, edeNotSupport, "this record type is not passed on")
	case empty:
		return q.reply(dnsmessage.RCodeSuccess, 0, "")
	}
	a, reply, err := s.Client.exchange(ctx, &q, network)
	if err != nil {
		return q.reply(dnsmessage.RCodeServerFailure, edeUnreachable, err.Error())
	}
	// Before the agent can connect to them.
	s.Names.Remember(q.name, a.addresses, a.ttl)
	reply[0], reply[1] = byte(q.id>>8), byte(q.id)
	return reply
}
