package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// people answer every ask with the same, and keep what they were asked.
type people struct {
	grant *session.Grant
	err   error
	asks  []session.Ask
}

func (p *people) Await(_ context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	p.asks = append(p.asks, ask)
	notify(fmt.Sprintf("apr-%d", len(p.asks)))
	return p.grant, p.err
}

// memory keeps events; fail refuses those of a decision.
type memory struct {
	events []record.Event
	fail   string
}

func (m *memory) Record(e record.Event) error {
	if m.fail != "" && e.Decision == m.fail {
		return errors.New("the spool is full")
	}
	m.events = append(m.events, e)
	return nil
}
func (m *memory) Flush(context.Context) error { return nil }
func (m *memory) Close() error                { return nil }

func destination(t *testing.T, change func(*policy.Set)) *policy.Destination {
	t.Helper()
	set := policy.Set{Version: "1", Policies: []policy.Policy{{
		Namespace: "prod", Name: "billing", Generation: 3, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
		Targets: []policy.Target{{
			Name: "db", Hosts: []string{"db.test"}, Port: 5432,
			Postgres: &policy.Postgres{TLSMode: policy.TLSVerifyFull, DefaultAction: policy.Deny},
		}},
	}}}
	change(&set)
	compiled, err := policy.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Lookup("db.test", 5432)
}

func TestAdmit(t *testing.T) {
	approval := &policy.Approval{Required: 1, TimeoutSeconds: 900, WaitSeconds: 900}
	soon := time.Now().Add(10 * time.Minute)
	tests := map[string]struct {
		access      *policy.Access
		enforcement policy.Enforcement
		people      people
		fail        string
		asks        int
		// ends is when the session has to, within a second; zero for never.
		ends      time.Time
		err       error
		errText   string
		decisions string
	}{
		"a target without access asks nobody and never ends": {},
		"a bounded session asks nobody and ends":             {access: &policy.Access{MaxDurationSeconds: 60}, ends: time.Now().Add(time.Minute)},
		"a granted session ends with its grant": {
			access: &policy.Access{Approval: approval}, people: people{grant: &session.Grant{Request: "apr-1", Deciders: []string{"alice"}, NotAfter: soon}},
			asks: 1, ends: soon, decisions: "Pending Approved",
		},
		"the bound counts where the grant is longer": {
			access: &policy.Access{Approval: approval, MaxDurationSeconds: 60}, people: people{grant: &session.Grant{Request: "apr-1", NotAfter: soon}},
			asks: 1, ends: time.Now().Add(time.Minute), decisions: "Pending Approved",
		},
		"a grant without an end has none": {
			access: &policy.Access{Approval: approval}, people: people{grant: &session.Grant{Request: "apr-1"}}, asks: 1, decisions: "Pending Approved",
		},
		"a denial is passed on": {
			access: &policy.Access{Approval: approval}, people: people{err: fmt.Errorf("approval request apr-1: %w: not today", session.ErrDenied)},
			asks: 1, err: session.ErrDenied, errText: "not today", decisions: "Pending Denied",
		},
		"an operator that cannot be reached admits nobody": {
			access: &policy.Access{Approval: approval}, people: people{err: session.ErrUnavailable}, asks: 1, err: session.ErrUnavailable, decisions: "Pending Unavailable",
		},
		"no grant and no error admit nobody": {
			access: &policy.Access{Approval: approval}, asks: 1, err: session.ErrUnavailable, decisions: "Pending Unavailable",
		},
		"a grant that cannot be recorded admits nobody": {
			access: &policy.Access{Approval: approval}, people: people{grant: &session.Grant{Request: "apr-1"}}, fail: "Approved",
			asks: 1, errText: "the spool is full", decisions: "Pending",
		},
		"a policy in Audit asks nobody and ends nothing": {access: &policy.Access{Approval: approval, MaxDurationSeconds: 60}, enforcement: policy.Audit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := destination(t, func(s *policy.Set) {
				s.Policies[0].Targets[0].Access = tt.access
				if tt.enforcement != "" {
					s.Policies[0].Enforcement = tt.enforcement
				}
			})
			log := &memory{fail: tt.fail}
			s := &session.Session{Rules: func() *policy.Destination { return d }, Approvals: &tt.people, Recorder: log}
			told := 0
			ctx, end, err := s.Admit(t.Context(), session.Purpose{Text: "connect", Justification: "ticket 7"}, func(session.Ask, string) { told++ })
			if tt.err != nil && !errors.Is(err, tt.err) || (tt.err != nil || tt.errText != "") && (err == nil || !strings.Contains(err.Error(), tt.errText)) {
				t.Fatalf("got error %v, want %v %s", err, tt.err, tt.errText)
			}
			if tt.err == nil && tt.errText == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer end()
				at, bounded := ctx.Deadline()
				if bounded == tt.ends.IsZero() || at.Sub(tt.ends).Abs() > 30*time.Second && bounded {
					t.Fatalf("ends at %v (%v), want %v", at, bounded, tt.ends)
				}
			}
			if len(tt.people.asks) != tt.asks || told != tt.asks {
				t.Fatalf("asked %d times and told %d, want %d", len(tt.people.asks), told, tt.asks)
			}
			for _, ask := range tt.people.asks {
				if ask.Justification != "ticket 7" || ask.Target != "db" || ask.Verdict.Policy != "prod/billing" || ask.Verdict.Generation != 3 || len(ask.Digest) != 64 {
					t.Fatalf("asked %+v", ask)
				}
			}
			var decisions []string
			for _, e := range log.events {
				if e.Kind == record.KindApproval {
					decisions = append(decisions, e.Decision)
				}
			}
			if got := strings.Join(decisions, " "); got != tt.decisions {
				t.Fatalf("recorded %q, want %q", got, tt.decisions)
			}
			if tt.enforcement == policy.Audit && (len(log.events) != 1 || log.events[0].Audited != string(policy.RequireApproval)) {
				t.Fatalf("recorded %+v", log.events)
			}
		})
	}
}

// TestTheEndOfAccess runs a session past its time: its context says why, and an agent that does not hear is cut off.
func TestTheEndOfAccess(t *testing.T) {
	agent, far := net.Pipe()
	defer far.Close()
	d := destination(t, func(s *policy.Set) {
		s.Policies[0].Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1}}
	})
	s := &session.Session{
		Agent: agent, Rules: func() *policy.Destination { return d }, Recorder: &memory{},
		Approvals: &people{grant: &session.Grant{Request: "apr-9", NotAfter: time.Now().Add(50 * time.Millisecond)}},
	}
	ctx, end, err := s.Admit(t.Context(), session.Purpose{Text: "connect"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, session.ErrAccessOver) || !strings.Contains(cause.Error(), "apr-9") || !strings.Contains(cause.Error(), "connect again") {
		t.Fatalf("the cause is %v", cause)
	}
	_ = far.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the connection still stands: %v", err)
	}
}

func TestPoliciesAtOneDestinationAskEachForItsOwnTarget(t *testing.T) {
	d := destination(t, func(s *policy.Set) {
		s.Policies[0].Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1}}
		other := s.Policies[0]
		other.Name, other.Targets = "second", []policy.Target{s.Policies[0].Targets[0]}
		other.Targets[0].Name = "db-too"
		s.Policies = append(s.Policies, other)
	})
	asked := &people{grant: &session.Grant{}}
	s := &session.Session{Rules: func() *policy.Destination { return d }, Approvals: asked, Recorder: &memory{}}
	_, end, err := s.Admit(t.Context(), session.Purpose{Text: "connect"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	end()
	if len(asked.asks) != 2 || asked.asks[0].Target != "db" || asked.asks[1].Target != "db-too" || asked.asks[0].Digest == asked.asks[1].Digest {
		t.Fatalf("asked %+v", asked.asks)
	}
}
