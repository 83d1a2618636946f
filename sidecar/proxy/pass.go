package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// pass carries a connection to where it was going, uninspected.
func (p *Proxy) pass(ctx context.Context, c *connection) {
	log, err := p.egressLog(c)
	if err != nil {
		p.complain(c, err)
		reset(c.agent)
		return
	}
	defer log.close()
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", c.to.String())
	if err != nil {
		log.failed(err)
		reset(c.agent)
		return
	}
	upstream := conn.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() {
		reset(c.agent)
		reset(upstream)
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		n, err := io.Copy(c.agent, upstream)
		log.count(n)
		finish(c.agent, upstream, err)
	})
	both.Go(func() {
		err := p.greet(c, upstream)
		if err != nil {
			log.failed(err)
			reset(c.agent)
			reset(upstream)
			return
		}
		n, err := io.Copy(upstream, c.agent)
		log.count(n)
		finish(upstream, c.agent, err)
	})
	both.Wait()
	if ctx.Err() != nil {
		log.failed(context.Cause(ctx))
	}
	c.agent.Close()
	upstream.Close()
}

// greet checks what the agent says first where the connection may pass because of a name, and sends it on. Nothing
// is waited for: a server that speaks first is heard meanwhile.
func (p *Proxy) greet(c *connection, upstream *net.TCPConn) error {
	if !c.route.byName {
		return nil
	}
	first, hello, err := peek(c.agent)
	if err != nil {
		return err
	}
	if hello != nil && hello.ServerName != "" {
		if err := p.means(c, hello.ServerName); err != nil {
			return err
		}
	}
	_, err = upstream.Write(first)
	return err
}

// means refuses a TLS client that asks for another name than those that may pass: hosts share addresses.
func (p *Proxy) means(c *connection, sni string) error {
	d, err := p.directory()
	if err != nil {
		return err
	}
	for _, full := range d.fullNames(sni) {
		if d.egress(full, c.to.Port()).Action == policy.Allow {
			return nil
		}
	}
	return fmt.Errorf("the TLS client asks for %q, which no policy lets pass, at the address of %s", sni, c.route.asked)
}

// finish passes one direction's end on: a half-closed connection may still answer, a broken one is broken for both.
func finish(to, from *net.TCPConn, err error) {
	if err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite()
}

// passing is the record of one uninspected connection.
type passing struct {
	recorder session.Recorder

	mu    sync.Mutex // guards what follows
	bytes int64
	err   error
}

// egressLog records the connection's beginning. An error means that it could not be recorded and must not be.
func (p *Proxy) egressLog(c *connection) (*passing, error) {
	recorder, err := p.egressRecorder(c, c.route.verdict.Message)
	if err != nil {
		return nil, err
	}
	return &passing{recorder: recorder}, nil
}

func (p *Proxy) egressRecorder(c *connection, message string) (session.Recorder, error) {
	o := record.LogOptions{Target: record.EgressTarget, Protocol: record.EgressProtocol, OnFailure: policy.Continue}
	if rules, err := p.Rules(); err == nil {
		for _, each := range rules.Set().Policies {
			o.Policies = append(o.Policies, each.Namespace+"/"+each.Name)
			if each.Recording.OnFailure != policy.Continue {
				o.OnFailure = policy.Block
			}
		}
	}
	v := c.route.verdict
	text := "connect " + c.to.String()
	if c.route.asked != "" {
		text += " (" + c.route.asked + ")"
	}
	recorder := p.Record(o)
	err := errors.Join(
		recorder.Record(record.Event{Kind: record.KindConnect, Protocol: record.EgressProtocol, Peer: c.to.String()}),
		recorder.Record(record.Event{
			Kind: record.KindCommand, Command: 1, Text: text, TextLength: len(text),
			Verdict: string(v.Action), Audited: string(v.Audited),
			Policy: v.Policy, Generation: v.Generation, Rule: v.Rule, Message: message,
		}))
	if err != nil {
		_ = recorder.Close()
		return nil, err
	}
	return recorder, nil
}

func (l *passing) count(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += n
}

// failed notes the first reason why the connection ended.
func (l *passing) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

func (l *passing) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	result := record.Event{Kind: record.KindResult, Command: 1, Bytes: l.bytes}
	end := record.Event{Kind: record.KindDisconnect}
	if l.err != nil {
		end.Error = l.err.Error()
	}
	// The connection is over: what cannot be kept now is counted by the log itself.
	_ = l.recorder.Record(result)
	_ = l.recorder.Record(end)
	_ = l.recorder.Close()
}
