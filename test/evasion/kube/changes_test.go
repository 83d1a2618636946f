package kube

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/spdystream/spdy"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

func number(t testing.TB, port string) uint16 {
	t.Helper()
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// forwarder opens a port-forward over SPDY.
func forwarder(t testing.TB, s *kubeserver.Sidecar, query string) *client {
	t.Helper()
	c := dial(t, s.Address(), s.CAPEM())
	c.send(t, spdyRequest("portforward.k8s.io", "/api/v1/namespaces/shop/pods/solo/portforward"+query))
	if code, body := c.answer(); code != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade was answered with %d: %s", code, body)
	}
	return c
}

// connection opens the streams of one connection to a port.
func (s *script) connection(first spdy.StreamId, port string) *script {
	header := func(kind string) http.Header {
		return http.Header{"Streamtype": {kind}, "Port": {port}, "Requestid": {strconv.Itoa(int(first))}}
	}
	return s.frame(&spdy.SynStreamFrame{StreamId: first, CFHeader: spdy.ControlFrameHeader{Flags: spdy.ControlFlagFin}, Headers: header("error")}).
		frame(&spdy.SynStreamFrame{StreamId: first + 2, Headers: header("data")})
}

func (c *client) write(t testing.TB, s *script) {
	t.Helper()
	if _, err := c.Write(s.wire.Bytes()); err != nil {
		t.Fatal(err)
	}
	s.wire.Reset()
}

// reached waits for the port's first connection.
func reached(t testing.TB, l *listener) {
	t.Helper()
	for begin := time.Now(); l.connections() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("no connection came")
		}
	}
}

// ended sends no more, and returns all that came.
func (c *client) ended() string {
	_ = c.CloseWrite()
	all := ""
	for _, text := range streamsOf(c) {
		all += text
	}
	return all
}

// What people are asked about names ports; the streams of SPDY name theirs once more.
func TestAPortThatWasNotNamedIsNotForwarded(t *testing.T) {
	all := policy.Match{Resources: []string{"pods/portforward"}}
	for name, rule := range map[string]policy.Rule{
		"where people approved another one": {Name: "asked", Action: policy.RequireApproval, Match: all, Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: 300}},
		"where rules allow it, too":         {Name: "allowed", Action: policy.Allow, Match: all},
	} {
		t.Run(name, func(t *testing.T) {
			named, secret := listen(t), listen(t)
			s := front(t, policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{rule}})
			if rule.Approval != nil {
				go func() {
					if _, err := s.Desk.Filed(t.Context(), 1); err == nil {
						s.Desk.Decide(1, "Approved", "")
					}
				}()
			}
			c := forwarder(t, s, "?ports="+named.port)
			script := newScript(t)
			c.write(t, script.connection(1, named.port))
			reached(t, named)
			c.write(t, script.connection(5, secret.port))
			if got := c.ended(); !strings.Contains(got, "port "+secret.port+" is none of those") || secret.connections() != 0 {
				t.Errorf("%d connections: %q", secret.connections(), got)
			}
			refused := s.Log.Find(record.KindCommand, func(e record.Event) bool { return strings.HasSuffix(e.Text, " "+secret.port) })
			if len(refused) != 1 || refused[0].Verdict != string(policy.Deny) {
				t.Errorf("recorded: %+v", refused)
			}
		})
	}
}

// A connection that is open when the policies change is not a way around the new ones.
func TestPortsAreJudgedByTheRulesOfNow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*kubeserver.Sidecar) error
		says   string
	}{
		"where they deny it": {func(s *kubeserver.Sidecar) error { return s.Apply(forwarding(4321)) }, "refused by Chaperone"},
		// All of it ends then, whether or not another connection is opened first.
		"where they contradict each other": {func(s *kubeserver.Sidecar) error {
			return s.ApplyAll(open(), func(*policy.Policy) {}, func(p *policy.Policy) {
				p.Name = "shell"
				p.Targets[0].Kubernetes, p.Targets[0].SSH = nil, &policy.SSH{DefaultAction: policy.Allow}
			})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			port := listen(t)
			s := front(t, forwarding(number(t, port.port)))
			c := forwarder(t, s, "")
			script := newScript(t)
			c.write(t, script.connection(1, port.port))
			reached(t, port)
			if err := tt.change(s); err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(script.connection(5, port.port).wire.Bytes()) // it may have ended
			if got := c.ended(); !strings.Contains(got, tt.says) || port.connections() != 1 {
				t.Errorf("%d connections: %q", port.connections(), got)
			}
			s.Log.Find(record.KindResult, nil)
			if !slices.ContainsFunc(s.Log.Events(), func(e record.Event) bool {
				return e.Verdict == string(policy.Deny) || strings.Contains(e.Error, "no longer allow this")
			}) {
				t.Errorf("recorded %+v", s.Log.Events())
			}
		})
	}
}

// Rules of the same name in two policies are two rules.
func TestAnApprovalUnderOnePolicyIsNoneUnderAnother(t *testing.T) {
	first, second := listen(t), listen(t)
	asking := func(name, port string) func(*policy.Policy) {
		return func(p *policy.Policy) {
			forward := policy.Match{Resources: []string{"pods/portforward"}}
			asked := forward
			asked.Ports = []uint16{number(t, port)}
			p.Name = name
			p.Targets[0].Kubernetes = &policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
				{Name: "asked", Action: policy.RequireApproval, Match: asked, Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: 300}},
				{Name: "rest", Action: policy.Allow, Match: forward},
			}}
		}
	}
	s := front(t, open())
	if err := s.ApplyAll(open(), asking("a", first.port), asking("b", second.port)); err != nil {
		t.Fatal(err)
	}
	under := make(chan string, 1)
	go func() {
		ask, err := s.Desk.Filed(t.Context(), 1)
		if err == nil {
			s.Desk.Decide(1, "Approved", "")
		}
		under <- ask.Verdict.Policy
	}()
	c := forwarder(t, s, "")
	granted, other := first, second
	if policy := <-under; strings.HasSuffix(policy, "b") {
		granted, other = second, first
	}
	script := newScript(t)
	c.write(t, script.connection(1, granted.port))
	reached(t, granted)
	c.write(t, script.connection(5, other.port))
	if got := c.ended(); !strings.Contains(got, "forwarded when people approve") || other.connections() != 0 {
		t.Errorf("%d connections: %q", other.connections(), got)
	}
}

// An agent that reads nothing keeps its session's end from being told, not from coming.
func TestTheEndOfAccessDoesNotWaitForTheAgent(t *testing.T) {
	for transport, protocol := range map[string]string{"WebSocket": "v5.channel.k8s.io", "SPDY": ""} {
		t.Run("over "+transport, func(t *testing.T) {
			t.Parallel()
			s := front(t, open(), func(p *policy.Policy) { p.Targets[0].Access = &policy.Access{MaxDurationSeconds: 2} })
			c := dial(t, s.Address(), s.CAPEM())
			c.upgrade(t, protocol, execPath("&stdin=true", "yes", mark()))
			if protocol == "" {
				c.write(t, newScript(t).usual(1))
			}
			ended := s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, "access was granted for is over") })
			if len(ended) != 1 {
				t.Errorf("it goes on: %d events", len(s.Log.Events()))
			}
		})
	}
}
