package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

const (
	agentUID = 10001
	ourUID   = 20001
)

func TestMain(m *testing.M) {
	netlab.Main(m, map[string]func() error{
		"sidecar": func() error {
			main()
			return nil
		},
		"redirect": redirectContainer,
	})
}

// redirectContainer becomes the program with what the init container has: uid 0 and NET_ADMIN.
func redirectContainer() error {
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(last)))
	if err != nil {
		return err
	}
	// Capabilities and exec are the thread's.
	for c := range count + 1 {
		if c != unix.CAP_NET_ADMIN {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return fmt.Errorf("dropping capability %d: %w", c, err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Setenv(netlab.Role, "sidecar"); err != nil {
		return err
	}
	return fmt.Errorf("becoming the program: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// container is one pod with its volumes, in a lab with an outside world.
type container struct {
	*netlab.Lab
	t   *testing.T
	env []string
}

// newPod mounts volumes where the webhook puts them and writes the pod's resolv.conf.
func newPod(t *testing.T) *container {
	t.Helper()
	c := &container{Lab: netlab.New(t), t: t}
	for _, dir := range []string{"/var/lib", "/var/run"} {
		mount(t, dir)
	}
	for _, dir := range []string{layout.StatePath, layout.SpoolPath, layout.TrustPath, layout.IdentityPath, layout.KubePath} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		// As an emptyDir is.
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(layout.IdentityPath, layout.TokenFile), "pod-token")
	c.resolvConf("search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver " + netlab.Node4.String() + "\noptions ndots:5\n")
	c.env = []string{
		layout.EnvUID + "=" + fmt.Sprint(ourUID),
		layout.EnvPodName + "=agent-0", layout.EnvPodNamespace + "=prod", layout.EnvPodUID + "=6a4e",
		layout.EnvPodIPs + "=" + netlab.Pod4.String() + "," + netlab.Pod6.String(),
		layout.EnvSpoolBytes + "=16777216",
		layout.EnvBroker + "=" + brokerHost + ":443",
		layout.EnvBrokerCA + "=none",
	}
	return c
}

func mount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// resolvConf stands over the machine's own.
func (c *container) resolvConf(content string) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "resolv.conf")
	write(c.t, file, content)
	if err := unix.Mount(file, resolvConf, "", unix.MS_BIND, ""); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = unix.Unmount(resolvConf, unix.MNT_DETACH) })
}

// process is a run of the program.
type process struct {
	*exec.Cmd
	done chan struct{}
	code int

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs the program as the uid; uid 0 is the redirect container.
func (c *container) start(uid uint32, args ...string) *process {
	c.t.Helper()
	p := &process{done: make(chan struct{})}
	role := "sidecar"
	if uid == 0 {
		role = "redirect"
	}
	var wait func() error
	p.Cmd, wait = netlab.Start(c.t, uid, role, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sidecar"}, args...)
		cmd.Env = append(cmd.Env, c.env...)
		cmd.Stdout, cmd.Stderr = p, p
	})
	go func() {
		var exit *exec.ExitError
		if err := wait(); errors.As(err, &exit) {
			p.code = exit.ExitCode()
		}
		close(p.done)
	}()
	return p
}

// end waits for the program and gives its status and what it said.
func (p *process) end(t *testing.T) (int, string) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end; it said\n%s", p.said())
	}
	return p.code, p.said()
}

// redirect runs the init container to its end.
func (c *container) redirect() {
	c.t.Helper()
	if code, said := c.start(0, "redirect").end(c.t); code != 0 {
		c.t.Fatalf("redirect ended with %d:\n%s", code, said)
	}
}

// ready asks as the startup probe does.
func (c *container) ready() bool {
	c.t.Helper()
	code, _ := c.start(ourUID, "ready").end(c.t)
	return code == 0
}

// becomes waits until what is asked holds.
func becomes(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 20 s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func address(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
