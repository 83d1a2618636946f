package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

func TestRedirectWithItsOneCapability(t *testing.T) {
	c := newPod(t)
	code, said := c.start(0, "redirect").end(t)
	if code != 0 || !strings.Contains(said, `"proved":["IPv4","IPv6"]`) {
		t.Fatalf("ended with %d:\n%s", code, said)
	}
	noted, err := os.ReadFile(filepath.Join(layout.StatePath, layout.NameserversFile))
	if err != nil || string(noted) != netlab.Node4.String()+"\n" {
		t.Errorf("noted %q, %v", noted, err)
	}
	var agent net.Conn
	if err := netlab.As(agentUID, func() (err error) {
		agent, err = net.Dial("udp", address(netlab.Host4, 443))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	if _, err := agent.Write([]byte("out")); err == nil {
		t.Error("a datagram left the pod")
	}
	// An agent that is root writes the shared file, and the init container runs again.
	if err := os.WriteFile(resolvConf, []byte("nameserver 203.0.113.66\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.redirect()
	if again, _ := os.ReadFile(filepath.Join(layout.StatePath, layout.NameserversFile)); string(again) != string(noted) {
		t.Errorf("noted again %q", again)
	}
}

func TestRedirectSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*container)
		want    string
	}{
		"no uid":        {func(c *container) { c.env = append(c.env, layout.EnvUID+"=") }, layout.EnvUID},
		"uid 0":         {func(c *container) { c.env = append(c.env, layout.EnvUID+"=0") }, "root in an agent container would not be redirected"},
		"no nameserver": {func(c *container) { c.resolvConf("options ndots:5\n") }, "set the pod's dnsPolicy or dnsConfig.nameservers"},
		"a nameserver in the pod": {func(c *container) { c.resolvConf("nameserver " + netlab.Pod4.String() + "\n") },
			"nameserver " + netlab.Pod4.String() + " is the pod's own address"},
		"a nameserver on loopback": {func(c *container) { c.resolvConf("nameserver 127.0.0.1\n") }, "nameserver 127.0.0.1"},
		"somebody on the sidecar's port": {func(c *container) {
			l, err := net.Listen("tcp", "127.0.0.1:15001")
			if err != nil {
				c.t.Fatal(err)
			}
			c.t.Cleanup(func() { l.Close() })
		}, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(t)
			c.prepare(pod)
			if code, said := pod.start(0, "redirect").end(t); code != 1 || !strings.Contains(said, c.want) {
				t.Errorf("ended with %d:\n%s", code, said)
			}
		})
	}
	t.Run("no capability", func(t *testing.T) {
		pod := newPod(t)
		if code, said := pod.start(agentUID, "redirect").end(t); code != 1 || !strings.Contains(said, "NET_ADMIN") {
			t.Errorf("ended with %d:\n%s", code, said)
		}
	})
}

func TestTheRulesCanBeReadBeforehand(t *testing.T) {
	c := newPod(t)
	code, said := c.start(agentUID, "redirect", "--dry-run").end(t)
	if code != 0 || !strings.HasPrefix(said, "table inet chaperone\n") || !strings.Contains(said, "meta skuid 20001 return") {
		t.Errorf("ended with %d:\n%s", code, said)
	}
	if _, err := os.Stat(filepath.Join(layout.StatePath, layout.NameserversFile)); err == nil {
		t.Error("a dry run left something behind")
	}
}

func TestUsage(t *testing.T) {
	c := newPod(t)
	for _, args := range [][]string{nil, {"dance"}} {
		if code, said := c.start(agentUID, args...).end(t); code != 2 || !strings.Contains(said, "usage: sidecar COMMAND") {
			t.Errorf("%q ended with %d:\n%s", args, code, said)
		}
	}
	if code, said := c.start(agentUID, "version").end(t); code != 0 || said != "dev\n" {
		t.Errorf("version ended with %d:\n%s", code, said)
	}
}
