package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// maxAhead is how much an agent may send while it waits for people. Behind it the connection stands still, and
// that the agent hung up shows only once people have decided.
const maxAhead = bufferSize

// approve asks people about the command that the core holds, watching meanwhile whether the agent cancels or
// hangs up. d.mu is held around it.
func (d *driver) approve(ctx context.Context) {
	ask := d.core.Ask()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.stop, d.stopped = stop, false
	d.mu.Unlock()

	gone := watch(d.agent, stop)
	grant, err := d.session.Approvals.Await(ctx, ask, func(request string) {
		d.mu.Lock()
		d.core.Noted(request)
		d.mu.Unlock()
		if d.flushAgent() != nil {
			stop()
		}
	})
	ahead, hungUp := gone()
	d.ahead = append(d.ahead, ahead...)

	d.mu.Lock()
	d.stop = nil
	switch {
	case hungUp:
		d.endLocked(nil)
		err = errAgentGone
	case d.stopped:
		err = wire.ErrCancelled
	}
	if err != nil {
		grant = nil
	}
	d.core.Decided(grant, err)
}

// watch reads ahead from the agent until the returned function is called, which returns what was read and tells
// whether the agent has hung up; that also calls stop, at once.
func watch(agent net.Conn, stop func()) (end func() (ahead []byte, hungUp bool)) {
	var read []byte
	done := make(chan bool, 1)
	go func() {
		for len(read) < maxAhead {
			var p [4 << 10]byte
			n, err := agent.Read(p[:])
			read = append(read, p[:n]...)
			var timeout net.Error
			switch {
			case err == nil:
			case errors.As(err, &timeout) && timeout.Timeout():
				done <- false
				return
			default:
				stop()
				done <- true
				return
			}
		}
		done <- false
	}()
	return func() ([]byte, bool) {
		// A read that a deadline ends has taken nothing, over TLS too.
		_ = agent.SetReadDeadline(time.Unix(1, 0))
		hungUp := <-done
		_ = agent.SetReadDeadline(time.Time{})
		return read, hungUp
	}
}

// errAccessOver ends a session whose access was granted for a time.
var errAccessOver = errors.New("the time that access was granted for is over")

// prepare does what comes before a session: access that people have to grant, and the upstream connection.
func (p *Protocol) prepare(ctx context.Context, s *session.Session, agent net.Conn, start *wire.Startup, rules *wire.Rules) (*upstream, error) {
	d := rules.Destination()
	t, err := newTarget(d, s.Host)
	if err != nil {
		return nil, err
	}
	greeted := false
	var until time.Duration
	for _, ref := range d.Targets() {
		access := ref.Target.Access
		if access == nil {
			continue
		}
		if access.MaxDurationSeconds > 0 && (until == 0 || time.Duration(access.MaxDurationSeconds)*time.Second < until) {
			until = time.Duration(access.MaxDurationSeconds) * time.Second
		}
		if access.Approval == nil {
			continue
		}
		if !greeted {
			if err := greetEarly(agent, start); err != nil {
				return nil, err
			}
			greeted = true
		}
		if err := p.access(ctx, s, agent, start, ref, access.Approval); err != nil {
			return nil, err
		}
	}
	up, err := p.connect(ctx, s, t, rules, start)
	if err != nil {
		return nil, err
	}
	up.greeted, up.until = greeted, until
	return up, nil
}

// greetEarly lets the agent know that it is being served: a notice may not come before AuthenticationOk.
func greetEarly(agent net.Conn, start *wire.Startup) error {
	var hello []byte
	if version, tellVersion := start.Negotiated(); tellVersion {
		hello = wire.AppendNegotiation(hello, version, start.Options)
	}
	hello = appendMessage(hello, &pgproto3.AuthenticationOk{})
	if _, err := agent.Write(hello); err != nil {
		return fmt.Errorf("answering the agent's start-up: %w", err)
	}
	return agent.SetDeadline(time.Time{})
}

// ruleAccess is the rule's name in a session's own approval.
const ruleAccess = "access"

// access asks people for the session itself.
func (p *Protocol) access(ctx context.Context, s *session.Session, agent net.Conn, start *wire.Startup, ref policy.Ref, approval *policy.Approval) error {
	text := fmt.Sprintf("connect to database %q of target %s", database(start), ref.Target.Name)
	digest := sha256.Sum256([]byte(text + "\x00" + ref.Policy))
	ask := session.Ask{
		Verdict: policy.Verdict{Action: policy.RequireApproval, Policy: ref.Policy, Rule: ruleAccess, Approval: approval,
			Message: "access to target " + ref.Target.Name + " is granted by people, for each session"},
		Target: ref.Target.Name, Protocol: policy.ProtocolPostgres,
		Text: text, Length: len(text), Digest: hex.EncodeToString(digest[:]),
	}
	name := ""
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	gone := watch(agent, stop)
	grant, err := s.Approvals.Await(ctx, ask, func(request string) {
		name = request
		r := wire.ApprovalNotice(ask.Verdict, request)
		_, _ = agent.Write(r)
		_ = s.Recorder.Record(record.Event{Kind: record.KindApproval, Text: text, Digest: ask.Digest, Request: request, Decision: "Pending",
			Policy: ref.Policy, Rule: ruleAccess})
	})
	// What a client says before it is told that it may is lost with it: no client does.
	if early, hungUp := gone(); hungUp || len(early) > 0 {
		err = errors.Join(err, errAgentGone)
	}
	e := record.Event{Kind: record.KindApproval, Text: text, Digest: ask.Digest, Request: name, Decision: wire.Decision(err),
		Policy: ref.Policy, Rule: ruleAccess}
	if err != nil {
		e.Message = err.Error()
		_ = s.Recorder.Record(e)
		return &Refusal{Code: "42501", Message: err.Error(), Detail: "policy " + ref.Policy + ", target " + ref.Target.Name, cause: err,
			Hint: "Connect again to ask again, or once the request is approved."}
	}
	e.Request, e.Deciders = grant.Request, grant.Deciders
	if err := s.Recorder.Record(e); err != nil {
		return fmt.Errorf("recording the grant: %w", err)
	}
	return nil
}
