package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

// letting is a set that lets the host pass on port 9000.
func letting(version string, host string) policy.Set {
	return policy.Set{Version: version, MaxAgeSeconds: 3600, Policies: []policy.Policy{{
		Namespace: "prod", Name: "agents", Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny, Allow: []policy.Passthrough{{Hosts: []string{host}, Ports: []uint16{9000}}}},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
	}}}
}

// greeter answers at the host that may pass.
func (c *container) greeter() {
	c.t.Helper()
	c.Outside(c.t, func() error {
		l, err := net.Listen("tcp", address(netlab.Other4, 9000))
		if err != nil {
			return err
		}
		c.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(conn, "hello agent")
				conn.Close()
			}
		}()
		return nil
	})
}

// connect is what an agent hears from the host.
func (c *container) connect() (string, error) {
	var conn net.Conn
	err := netlab.As(agentUID, func() (err error) {
		conn, err = net.DialTimeout("tcp", address(netlab.Other4, 9000), 5*time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	return string(b), err
}

func TestTheLifeOfASidecar(t *testing.T) {
	c := newPod(t)
	c.greeter()
	b := c.newBroker()
	c.redirect()
	if _, err := c.connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before the sidecar runs: %v, want connection refused", err)
	}

	first := c.start(ourUID, "run")
	becomes(t, "the trust files are there", func() bool {
		_, err := os.Stat(filepath.Join(layout.KubePath, "token"))
		return err == nil
	})
	authority, err := os.ReadFile(filepath.Join(layout.TrustPath, layout.CAFile))
	if err != nil || !strings.HasPrefix(string(authority), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("the authority: %q, %v", authority, err)
	}
	if c.ready() {
		t.Error("it is ready without a policy")
	}
	becomes(t, "the proxy refuses what comes early", func() bool {
		_, err := c.connect()
		return errors.Is(err, syscall.ECONNRESET)
	})

	b.publish(t, letting("1", "api.llm.example"))
	b.serve(c)
	becomes(t, "ready once the operator has sent a policy", c.ready)
	becomes(t, "the operator knows what is in force", func() bool { return b.holds("1") })
	if got, err := c.connect(); err != nil || got != "hello agent" {
		t.Errorf("what the policy allows: %q, %v", got, err)
	}
	becomes(t, "the operator has the record", func() bool {
		return b.recorded(func(e record.Event) bool { return e.Kind == record.KindResult && e.Bytes == int64(len("hello agent")) })
	})

	b.publish(t, letting("2", "other.example"))
	becomes(t, "the next policy is in force", func() bool { return b.holds("2") })
	if got, err := c.connect(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("what the policy no longer allows: %q, %v", got, err)
	}
	b.publish(t, letting("3", "api.llm.example"))
	becomes(t, "and the one after", func() bool { return b.holds("3") })

	// The sidecar is killed while the operator is away.
	b.stop()
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.end(t)
	if c.ready() {
		t.Error("ready while it is down")
	}
	if _, err := c.connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while it is down: %v, want connection refused", err)
	}
	second := c.start(ourUID, "run")
	becomes(t, "ready by the last policy", c.ready)
	if got, err := c.connect(); err != nil || got != "hello agent" {
		t.Errorf("an operator that is down stops nothing that was allowed: %q, %v", got, err)
	}
	if again, _ := os.ReadFile(filepath.Join(layout.TrustPath, layout.CAFile)); string(again) != string(authority) {
		t.Error("a restart made a new authority")
	}

	// What was spooled meanwhile arrives before the sidecar ends.
	b.serve(c)
	becomes(t, "the operator is followed again", func() bool { return b.holds("3") })
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, said := second.end(t); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, said)
	}
	if !b.complete() {
		t.Error("the log was not brought to its end")
	}
	for said := range strings.Lines(second.said()) {
		if !strings.HasPrefix(said, "{") {
			t.Errorf("a log line that is no JSON: %q", said)
		}
	}
}

func TestASetThatIsTooOldAllowsNothing(t *testing.T) {
	c := newPod(t)
	c.greeter()
	b := c.newBroker()
	c.redirect()
	b.publish(t, letting("1", "api.llm.example"))
	b.serve(c)
	p := c.start(ourUID, "run")
	becomes(t, "ready", c.ready)
	b.stop()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end(t)
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(layout.StatePath, layout.PolicyFile), old, old); err != nil {
		t.Fatal(err)
	}
	p = c.start(ourUID, "run")
	becomes(t, "the refusal says why", func() bool {
		_, err := c.connect()
		return errors.Is(err, syscall.ECONNRESET) && strings.Contains(p.said(), "the operator was last reached 2h0m")
	})
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*container)
		uid     uint32
		want    string
	}{
		"no environment":               {func(c *container) { c.env = append(c.env, layout.EnvBroker+"=") }, ourUID, layout.EnvBroker + " is not set"},
		"a root that is none":          {func(c *container) {}, ourUID, "the operator's root certificate is missing or not PEM"},
		"another uid than exempted":    {func(c *container) {}, agentUID, "running as uid 10001, but the pod's rules let only uid 20001 out"},
		"redirect did not run":         {func(c *container) { _ = os.Remove(filepath.Join(layout.StatePath, layout.NameserversFile)) }, ourUID, "the nameservers that the redirect container noted"},
		"an authority that is damaged": {func(c *container) { write(c.t, filepath.Join(layout.StatePath, "ca.pem"), "x") }, ourUID, "ca.pem"},
		"somebody on its port": {func(c *container) {
			c.newBroker()
			l, err := net.Listen("tcp", "127.0.0.1:15001")
			if err != nil {
				c.t.Fatal(err)
			}
			c.t.Cleanup(func() { l.Close() })
		}, ourUID, "listening for redirected connections"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(t)
			pod.redirect()
			c.prepare(pod)
			if code, said := pod.start(c.uid, "run").end(t); code != 1 || !strings.Contains(said, c.want) {
				t.Errorf("ended with %d:\n%s", code, said)
			}
		})
	}
}
