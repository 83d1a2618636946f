package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/bench/ssh/wiring"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// bench1 is the host that clients name.
const bench1 = sshserver.Host

// lab is what cases are measured in.
type lab struct {
	server  *sshserver.Server
	folder  string
	peers   []*peer
	sidecar *process.Process
	idle    int64 // bytes resident before the sidecar has done anything
}

// peer is a way to the server.
type peer struct {
	name       string
	port       int
	knownHosts string
	key        string
	hostKey    ssh.PublicKey
	open       *ssh.Client
}

func newLab(ctx context.Context, o *process.Options) (l *lab, err error) {
	l = &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.server, err = sshserver.Start("LogLevel ERROR"); err != nil {
		return l, err
	}
	if l.folder, err = os.MkdirTemp("", "chaperone-bench-"); err != nil {
		return l, err
	}
	if err := os.Chmod(l.folder, 0o755); err != nil {
		return l, err
	}
	key := filepath.Join(l.folder, "key")
	if err := os.WriteFile(key, l.server.UserKey, 0o600); err != nil {
		return l, err
	}
	direct := &peer{name: "direct", port: l.server.Port, key: key, knownHosts: filepath.Join(l.folder, "known-direct"), hostKey: l.server.HostKey}
	if err := os.WriteFile(direct.knownHosts, l.server.KnownHosts(bench1, 22), 0o644); err != nil {
		return l, err
	}
	through := &peer{name: "sidecar", key: key, knownHosts: filepath.Join(l.folder, "known-sidecar")}
	l.peers = []*peer{direct, through}
	return l, l.launch(ctx, through, o)
}

// launch runs the sidecar in a process of its own, as the product does.
func (l *lab) launch(ctx context.Context, p *peer, o *process.Options) error {
	keys, err := trust.LoadHostKeys(filepath.Join(l.folder))
	if err != nil {
		return err
	}
	if p.hostKey, err = ssh.NewPublicKey(keys.Host.Public()); err != nil {
		return err
	}
	if err := os.WriteFile(p.knownHosts, keys.KnownHosts([]trust.SSHHost{{Host: bench1, Port: 22}}), 0o644); err != nil {
		return err
	}
	program := filepath.Join(l.folder, "program")
	if err := measured.Build(ctx, "github.com/chaperone-dev/chaperone/test/bench/ssh/sidecar", program); err != nil {
		return err
	}
	var at netip.AddrPort
	l.sidecar, at, err = measured.Start(ctx, program, wiring.Wiring{
		Upstream: l.server.Address(), Host: sshserver.Host, User: sshserver.User, KnownHosts: l.server.KnownHosts(bench1, 22), Key: l.server.UserKey,
		Folder: l.folder, Profile: o.Profile,
	})
	if err != nil {
		return err
	}
	p.port = int(at.Port())
	l.idle, err = l.sidecar.Resident()
	return err
}

func (l *lab) close() error {
	if l.sidecar != nil {
		l.sidecar.End(syscall.SIGTERM)
	}
	var err error
	if l.server != nil {
		err = l.server.Stop()
	}
	return errors.Join(err, os.RemoveAll(l.folder))
}

// command runs one of OpenSSH's programs to its end.
func (l *lab) command(p *peer, program string, stdout io.Writer, args ...string) error {
	all := []string{
		"-F", "none", "-o", "Hostname=127.0.0.1", "-o", "HostKeyAlias=" + bench1, "-o", "Port=" + strconv.Itoa(p.port), "-o", "User=" + sshserver.User,
		"-o", "UserKnownHostsFile=" + p.knownHosts, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
		"-o", "IdentityAgent=none", "-o", "IdentityFile=" + p.key, "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
	}
	if program != "ssh" {
		all = append(all, "-S", filepath.Join(l.server.Bin, "ssh"))
	}
	cmd := exec.Command(filepath.Join(l.server.Bin, program), append(all, args...)...)
	cmd.Env = append(l.server.Environment(), "HOME="+l.folder)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, p.name, err, errs.String())
	}
	return complete(stdout)
}

func (l *lab) dial(p *peer) (*ssh.Client, error) {
	key, err := ssh.ParsePrivateKey(l.server.UserKey)
	if err != nil {
		return nil, err
	}
	return ssh.Dial("tcp", "127.0.0.1:"+strconv.Itoa(p.port), &ssh.ClientConfig{
		User: sshserver.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(p.hostKey),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: time.Minute,
	})
}

// measure lets both peers take turns, and returns a row of the table.
func (l *lab) measure(c benchCase, o *process.Options) (string, error) {
	run := &c
	if o.Short {
		run = c.small()
	}
	for _, p := range l.peers {
		client, err := l.dial(p)
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		p.open = client
		defer client.Close()
	}
	way := func(p *peer) process.Peer {
		return process.Peer{Name: p.name, Work: func() error { return run.work(l, p, run) }}
	}
	turns := process.Turns{
		Label: run.name, Direct: way(l.peers[0]), Through: way(l.peers[1]), Sidecar: l.sidecar, Rounds: o.Rounds, Size: run.size, Items: run.items,
	}
	return turns.Row()
}

// memory measures what the sidecar holds with and without idle sessions.
func (l *lab) memory(o *process.Options) (string, error) {
	sessions := 200
	if o.Short {
		sessions = 10
	}
	settle := func() (int64, error) {
		// The sidecar returns what it has collected to the system at this signal.
		if err := l.sidecar.Cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			return 0, err
		}
		time.Sleep(2 * time.Second)
		return l.sidecar.Resident()
	}
	idle, err := settle()
	if err != nil {
		return "", err
	}
	var clients []*ssh.Client
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for range sessions {
		c, err := l.dial(l.peers[1])
		if err != nil {
			return "", err
		}
		clients = append(clients, c)
		s, err := c.NewSession()
		if err != nil {
			return "", err
		}
		if _, err := s.StdinPipe(); err != nil {
			return "", err
		}
		if err := s.Start("cat"); err != nil {
			return "", err
		}
	}
	with, err := settle()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Memory: %.1f MiB before the first connection, %.1f MiB without one after the cases above, %.1f MiB with %d connections of one running command each: %.0f KB a session.",
		float64(l.idle)/(1<<20), float64(idle)/(1<<20), float64(with)/(1<<20), sessions, float64(with-idle)/float64(sessions)/1000), nil
}
