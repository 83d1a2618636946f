package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// road is one way to a target of several hosts: a relay of bytes past the sidecar, or the sidecar.
type road struct {
	ports []int // by host, on 127.0.0.1
	close func() error
}

// open makes the road of a side.
func open(ctx context.Context, through bool, t target) (*road, error) {
	if through {
		c, err := startSidecarOf(t)
		if err != nil {
			return nil, err
		}
		return &road{c.ports, c.Close}, nil
	}
	r := &road{}
	ctx, cancel := context.WithCancel(ctx)
	var listeners []net.Listener
	var connections sync.WaitGroup
	r.close = func() (err error) {
		cancel()
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		connections.Wait()
		return err
	}
	for _, host := range t.hosts {
		listener, port, err := listen(ctx)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		listeners, r.ports = append(listeners, listener), append(r.ports, port)
		connections.Add(1)
		go func() {
			defer connections.Done()
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				connections.Add(1)
				go func() {
					defer connections.Done()
					relay(ctx, conn, func() (net.Conn, error) { return t.dial(ctx, host) })
				}()
			}
		}()
	}
	return r, nil
}

// relay carries bytes between two connections until one ends, or ctx does.
func relay(ctx context.Context, agent net.Conn, dial func() (net.Conn, error)) {
	defer agent.Close()
	server, err := dial()
	if err != nil {
		return
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { agent.Close(); server.Close() })()
	go func() {
		defer cancel()
		_, _ = io.Copy(server, agent)
	}()
	_, _ = io.Copy(agent, server)
}

// listening waits until somebody listens at an address.
func listening(ctx context.Context, address string) error {
	for {
		conn, err := dial(ctx, address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
