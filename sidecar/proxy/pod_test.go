package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/proxy/dns"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

const (
	agentUID   = 10001
	sidecarUID = 20001
)

func TestMain(m *testing.M) {
	netlab.Main(m, map[string]func() error{"sidecar": sidecar})
}

var listeners = []netip.AddrPort{
	netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), layout.ProxyPort),
	netip.AddrPortFrom(netip.IPv6Loopback(), layout.ProxyPort),
}

// news is what the sidecar's process tells the test.
type news struct {
	Ready     bool
	Authority string
	Target    string
	Event     *record.Event
}

// sidecar is the process that the pod's rules redirect to: the proxy and its resolver as they are, with a protocol
// that shows what a session is given. Each line of its input is a policy.Set.
func sidecar() error {
	settings := resolver.Settings{Nameservers: []netip.Addr{netlab.Node4}, Search: podSearch.Search, Ndots: 5}
	var current atomic.Pointer[policy.Compiled]
	var out sync.Mutex
	tell := func(n news) {
		out.Lock()
		defer out.Unlock()
		_ = json.NewEncoder(os.Stdout).Encode(n)
	}
	state, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	authority, err := trust.LoadAuthority(state, "prod/agent")
	if err != nil {
		return err
	}
	leaves, err := trust.NewLeaves(authority)
	if err != nil {
		return err
	}
	client, names := dns.NewClient(settings), dns.NewNames(time.Now)
	p := &Proxy{
		Rules: func() (*policy.Compiled, error) {
			if c := current.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("no policy is in force: the operator has not been reached yet")
		},
		Search: settings, Names: names, Resolver: client, Leaf: leaves.For,
		Protocols: map[policy.Protocol]session.Protocol{policy.ProtocolPostgres: mirror{}},
		Own:       []netip.Addr{netlab.Pod4, netlab.Pod6},
		Record:    func(o record.LogOptions) session.Recorder { return teller{o.Target, tell} },
		Log:       logr.Discard(),
	}
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	failed := make(chan error, 2)
	var bound sync.WaitGroup
	bound.Add(2)
	wait.Go(func() { failed <- p.Serve(ctx, listeners, changed, bound.Done) })
	wait.Go(func() {
		var at []netip.AddrPort
		for _, l := range listeners {
			at = append(at, netip.AddrPortFrom(l.Addr(), layout.DNSPort))
		}
		s := &dns.Server{Client: client, Names: names, Rule: p.RuleName}
		failed <- s.Serve(ctx, at, bound.Done)
	})
	go func() {
		bound.Wait()
		tell(news{Ready: true, Authority: string(authority.PEM())})
		lines := bufio.NewScanner(os.Stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var set policy.Set
			if err := json.Unmarshal(lines.Bytes(), &set); err != nil {
				failed <- err
				return
			}
			rules, err := policy.Compile(set)
			if err != nil {
				failed <- err
				return
			}
			current.Store(rules)
			changed <- struct{}{}
			tell(news{Ready: true})
		}
		failed <- nil
	}()
	err = <-failed
	cancel()
	wait.Wait()
	return err
}

// teller is a recorder that tells the test.
type teller struct {
	target string
	tell   func(news)
}

func (r teller) Record(e record.Event) error {
	r.tell(news{Target: r.target, Event: &e})
	return nil
}
func (teller) Flush(context.Context) error { return nil }
func (teller) Close() error                { return nil }

// mirror is a protocol that says what it was given; on "upstream" it joins the agent with the target. It waits for
// the agent without a thought for ctx.
type mirror struct{}

func (mirror) Serve(ctx context.Context, s *session.Session) error {
	defer s.Agent.Close()
	fmt.Fprintf(s.Agent, "%s %s %s\n", s.Rules().Name(), s.Host, s.Original)
	line, err := bufio.NewReader(s.Agent).ReadString('\n')
	if err != nil || line != "upstream\n" {
		return err
	}
	upstream, err := s.DialUpstream(ctx)
	if err != nil {
		fmt.Fprintln(s.Agent, err)
		return err
	}
	defer upstream.Close()
	_, err = io.Copy(s.Agent, upstream)
	return err
}

// pod is a lab with rules, a nameserver at the node, and the sidecar.
type pod struct {
	*netlab.Lab
	t         *testing.T
	server    *netlab.Nameserver
	sets      io.Writer
	authority string

	mu     sync.Mutex
	events []news
	ready  chan news
}

func newPod(t *testing.T, z netlab.Zone) *pod {
	t.Helper()
	p := &pod{Lab: netlab.New(t), t: t, server: &netlab.Nameserver{Zone: z}, ready: make(chan news)}
	rules, err := redirect.New(redirect.Config{UID: sidecarUID})
	if err != nil {
		t.Fatal(err)
	}
	if err := redirect.Apply(rules); err != nil {
		t.Fatal(err)
	}
	p.Outside(t, func() error { p.server.Start(t, netlab.Node4.String(), 53); return nil })
	var stdout io.Reader
	netlab.Start(t, sidecarUID, "sidecar", func(cmd *exec.Cmd) {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if stdout, err = cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		p.sets = stdin
	})
	go func() {
		lines := json.NewDecoder(stdout)
		for {
			var n news
			if lines.Decode(&n) != nil {
				return
			}
			if n.Ready {
				p.ready <- n
				continue
			}
			p.mu.Lock()
			p.events = append(p.events, n)
			p.mu.Unlock()
		}
	}()
	p.authority = p.await().Authority
	p.Left()
	return p
}

func (p *pod) await() news {
	p.t.Helper()
	select {
	case n := <-p.ready:
		return n
	case <-time.After(10 * time.Second):
		p.t.Fatal("the sidecar is not ready")
	}
	return news{}
}

// apply puts the policies in force.
func (p *pod) apply(policies ...policy.Policy) {
	p.t.Helper()
	line, err := json.Marshal(policy.Set{Policies: policies})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.sets.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	p.await()
}

// lookup asks for the name as an agent's resolver does, at the nameserver of its resolv.conf.
func (p *pod) lookup(name string) ([]netip.Addr, error) {
	p.t.Helper()
	var out []netip.Addr
	err := netlab.As(agentUID, func() error {
		r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, netip.AddrPortFrom(netlab.Node4, 53).String())
		}}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var err error
		out, err = r.LookupNetIP(ctx, "ip", name)
		return err
	})
	for i := range out {
		out[i] = out[i].Unmap()
	}
	return out, err
}

// connect connects as the agent.
func (p *pod) connect(address string) (*net.TCPConn, error) {
	var conn net.Conn
	err := netlab.As(agentUID, func() (err error) {
		conn, err = (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", address)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	return conn.(*net.TCPConn), nil
}

// dial connects as the agent, and has to.
func (p *pod) dial(address string) *net.TCPConn {
	p.t.Helper()
	conn, err := p.connect(address)
	if err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// refused expects a reset, which may come before connect has returned.
func (p *pod) refused(address string) {
	p.t.Helper()
	conn, err := p.connect(address)
	if err == nil {
		mustReset(p.t, conn)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		p.t.Errorf("%s: %v, want a reset", address, err)
	}
}

// serve answers every connection to the address of the outside world.
func (p *pod) serve(address string, f func(net.Conn)) {
	p.t.Helper()
	p.Outside(p.t, func() error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					f(c)
				}()
			}
		}()
		return nil
	})
}

// recorded waits for an event.
func (p *pod) recorded(what string, match func(news) bool) {
	p.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		for _, n := range p.events {
			if match(n) {
				p.mu.Unlock()
				return
			}
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, n := range p.events {
		all = append(all, fmt.Sprintf("%s %+v", n.Target, *n.Event))
	}
	p.t.Errorf("%s was not recorded; there is\n%s", what, strings.Join(all, "\n"))
}
