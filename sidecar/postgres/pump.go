package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
)

// bufferSize is what one read takes at most, and so what one write sends.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// peer is one side's connection and its writer.
type peer struct {
	net.Conn
	writing  sync.Mutex // orders writes: taken before driver.mu, and what is to be written is fetched under both
	spare    []byte
	timeout  time.Duration
	deadline time.Time
}

// send writes p. A peer that takes nothing for the timeout counts as gone.
func (p *peer) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	now := time.Now()
	if p.deadline.Sub(now) < p.timeout/2 || len(b) > 4*bufferSize {
		// A write of many megabytes may take long; one that makes no progress may not.
		p.deadline = now.Add(p.timeout + time.Duration(len(b)/(64<<10))*time.Second/16)
		if err := p.SetWriteDeadline(p.deadline); err != nil {
			return err
		}
	}
	_, err := p.Write(b)
	return err
}

// fromServer reads what the server sends.
func (d *driver) fromServer(ctx context.Context) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	for {
		n, err := d.server.Read(buf)
		if n > 0 {
			if err := d.deliver(ctx, buf[:n]); err != nil {
				d.end(err)
				d.agent.Close()
				return
			}
		}
		if err != nil {
			d.serverGone(err)
			return
		}
	}
}

// deliver hands the server's bytes to the core and what comes of them to the agent.
func (d *driver) deliver(ctx context.Context, p []byte) error {
	a := d.agent
	a.writing.Lock()
	defer a.writing.Unlock()
	d.mu.Lock()
	before := d.core.Wait()
	broken := d.core.Server(p)
	out, reuse := d.core.ToAgent(a.spare)
	if d.core.Cancelling() {
		go d.cancelUpstream(ctx)()
	}
	_, toServer := d.core.Pending()
	if before != wire.WaitNone || toServer || d.core.Ended() {
		d.changed.Broadcast()
	}
	d.mu.Unlock()
	if err := a.send(out); err != nil {
		return errAgentGone
	}
	a.spare = reuse
	if toServer && before == wire.WaitNone {
		d.flushServer() // a word of the core's own; the agent's goroutine is reading
	}
	return broken
}

// serverGone tells the agent that the server has hung up, if that was not to be expected.
func (d *driver) serverGone(err error) {
	cause := "connection reset"
	if errors.Is(err, io.EOF) {
		cause = "end of file"
	}
	d.mu.Lock()
	expected := d.over || d.core.Ended()
	d.core.Lost(cause)
	d.mu.Unlock()
	if !expected {
		d.agent.SetWriteDeadline(time.Now().Add(farewell))
		_ = d.flushAgent() // it ends for the server's reason, whether or not the agent still reads
		d.end(fmt.Errorf("the database server has closed the connection: %s", cause))
	} else {
		d.end(nil)
	}
	d.agent.Close()
}

// flushAgent sends what the core has for the agent.
func (d *driver) flushAgent() error {
	a := d.agent
	a.writing.Lock()
	defer a.writing.Unlock()
	d.mu.Lock()
	out, reuse := d.core.ToAgent(a.spare)
	d.mu.Unlock()
	if err := a.send(out); err != nil {
		return errAgentGone
	}
	a.spare = reuse
	return nil
}

// flushServer sends what the core has for the server.
func (d *driver) flushServer() {
	s := d.server
	s.writing.Lock()
	defer s.writing.Unlock()
	d.mu.Lock()
	out, reuse := d.core.ToServer(s.spare)
	d.mu.Unlock()
	if err := s.send(out); err != nil {
		// The goroutine that reads from the server learns why, and tells the agent.
		s.Close()
	}
	s.spare = reuse
}

// fromAgent reads what the agent sends.
func (d *driver) fromAgent(ctx context.Context) {
	defer d.agent.Close()
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	buf := *pooled
	for {
		var p []byte
		if len(d.ahead) > 0 {
			p, d.ahead = d.ahead, nil
		} else {
			n, err := d.agent.Read(buf)
			if n == 0 && err != nil {
				d.end(nil)
				return
			}
			p = buf[:n]
		}
		d.mu.Lock()
		d.core.Agent(p)
		if !d.settle(ctx) {
			return
		}
	}
}

// settle sends what the core has and sees to what it waits for, until it takes more from the agent; false when
// the session is over. d.mu is held when it is called, and not when it returns.
func (d *driver) settle(ctx context.Context) bool {
	for {
		toAgent, _ := d.core.Pending()
		ended := d.core.Ended()
		d.mu.Unlock()
		d.flushServer()
		if toAgent {
			if ended {
				d.agent.SetWriteDeadline(time.Now().Add(farewell))
			}
			if err := d.flushAgent(); err != nil {
				d.end(nil)
				return false
			}
		}
		if ended {
			d.mu.Lock()
			broken := d.core.Err() != nil
			d.mu.Unlock()
			if broken {
				linger(d.agent.Conn)
			}
			d.end(nil)
			return false
		}
		d.mu.Lock()
		if d.over {
			d.mu.Unlock()
			return false
		}
		if agent, server := d.core.Pending(); agent || server {
			continue
		}
		switch d.core.Wait() {
		case wire.WaitNone:
			d.mu.Unlock()
			return true
		case wire.WaitServer:
			d.changed.Wait()
		case wire.WaitFlush:
			d.flushRecords(ctx)
		case wire.WaitApproval:
			d.approve(ctx)
		}
	}
}
