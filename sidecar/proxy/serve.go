package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Serve accepts on the addresses until ctx ends, then waits for the connections to end. It calls ready once all
// are bound. Changed, when it delivers, says that the policies have changed.
func (p *Proxy) Serve(ctx context.Context, addresses []netip.AddrPort, changed <-chan struct{}, ready func()) error {
	p.init()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	defer serving.Wait()
	var config net.ListenConfig
	// Without MPTCP, which is on by default: its further subflows would be redirected each on its own.
	config.SetMultipathTCP(false)
	for _, a := range addresses {
		listener, err := config.Listen(ctx, "tcp", a.String())
		if err != nil {
			return fmt.Errorf("listening for redirected connections: %w", err)
		}
		defer listener.Close()
		serving.Go(func() { cancel(p.accept(ctx, listener.(*net.TCPListener), &serving)) })
		stop := context.AfterFunc(ctx, func() { listener.Close() })
		defer stop()
	}
	serving.Go(func() { p.review(ctx, changed) })
	ready()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (p *Proxy) accept(ctx context.Context, listener *net.TCPListener, serving *sync.WaitGroup) error {
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
		case p.seats <- struct{}{}:
		default:
			reset(conn)
			continue
		}
		serving.Go(func() {
			defer func() { <-p.seats }()
			p.handle(ctx, conn)
		})
	}
}

// handle serves one connection to its end.
func (p *Proxy) handle(ctx context.Context, conn *net.TCPConn) {
	to, err := p.destination(conn)
	if err != nil {
		// Not in conntrack: nothing redirected it.
		reset(conn)
		return
	}
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := p.route(ctx, to)
	c := &connection{agent: conn, to: to, route: r, cancel: cancel}
	switch {
	case r.place.destination != nil:
		p.enter(c)
		defer p.leave(c)
		p.inspect(ctx, c)
	case r.verdict.Action == "Allow":
		p.enter(c)
		defer p.leave(c)
		p.pass(ctx, c)
	default:
		p.refuse(c)
	}
}

// reset ends a connection so that the agent sees it refused, not ended.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	conn.Close()
}
