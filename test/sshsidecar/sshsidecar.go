// Package sshsidecar runs the sidecar's SSH protocol in the test's own process: agents reach it on a loopback port, and
// it reaches a real sshd.
package sshsidecar

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/session/sessiontest"
	sidecarssh "github.com/chaperone-dev/chaperone/sidecar/ssh"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/scriptprogram"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// Names in the policies of tests.
const (
	Policy = "prod/ops"
	Target = "bastion"
	Host   = sshserver.Host
)

// Sidecar is a Protocol behind a listener, with what a session needs filled in by the test.
type Sidecar struct {
	Server *sshserver.Server
	Log    *sessiontest.Log
	Desk   *sessiontest.Desk
	// Lease is the credential that the target is shown, LeaseErr the error in its place; change them by Set.
	Lease    *session.Lease
	LeaseErr error
	// Certify signs keys for the target, where its credential is a certificate authority.
	Certify func(user string, publicKey []byte) (*session.Lease, error)
	// Dial connects to the target.
	Dial func(context.Context) (net.Conn, error)
	// KnownHostsFile is what agents know the sidecar by.
	KnownHostsFile string
	HostKeys       *trust.HostKeys

	t           testing.TB
	listener    net.Listener
	destination atomic.Pointer[policy.Destination]
	changes     session.Changes
	protocol    *sidecarssh.Protocol
	sessions    sync.WaitGroup

	mu        sync.Mutex // guards what Set changes, and what follows
	terminals []*sessiontest.Log
	errs      []error
}

// SSH is a target whose rules are given, for the test's server and user.
func SSH(server *sshserver.Server, rules ...policy.Rule) policy.SSH {
	return policy.SSH{
		User: sshserver.User, KnownHosts: server.KnownHosts(Host, 22), HasCredentials: true, CredentialsID: "prod/bastion-key",
		Rules: rules, DefaultAction: policy.Deny,
	}
}

// Destination compiles a policy with one target.
func Destination(t testing.TB, target policy.SSH, change ...func(*policy.Policy)) *policy.Destination {
	t.Helper()
	p := policy.Policy{
		Namespace: "prod", Name: "ops", Generation: 3, Enforcement: policy.Enforce,
		Egress:    policy.Egress{Unmatched: policy.Deny},
		Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets:   []policy.Target{{Name: Target, Hosts: []string{Host}, Port: 22, SSH: &target}},
	}
	for _, f := range change {
		f(&p)
	}
	compiled, err := policy.Compile(policy.Set{Version: "1", Policies: []policy.Policy{p}})
	if err != nil {
		t.Fatal(err)
	}
	d := compiled.Lookup(Host, 22)
	if d == nil {
		t.Fatal("the policy has no destination")
	}
	return d
}

// Start runs a sidecar before the server until the test ends.
func Start(t testing.TB, server *sshserver.Server, target policy.SSH, change ...func(*policy.Policy)) *Sidecar {
	t.Helper()
	s := &Sidecar{
		Server: server, Log: &sessiontest.Log{}, Desk: sessiontest.NewDesk(), t: t,
		Lease: &session.Lease{KeyPEM: server.UserKey, NotAfter: time.Now().Add(time.Hour)},
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", server.Address())
		},
	}
	s.destination.Store(Destination(t, target, change...))
	var err error
	if s.HostKeys, err = trust.LoadHostKeys(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	signers, err := s.HostKeys.Signers()
	if err != nil {
		t.Fatal(err)
	}
	options := sidecarssh.Options{Host: signers, ConnectTimeout: 30 * time.Second}
	if target.Interpret {
		options.Scripts = script.New(scriptprogram.Build(t))
	}
	s.protocol = sidecarssh.New(options)
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.KnownHostsFile = filepath.Join(t.TempDir(), "known_hosts")
	lines := s.HostKeys.KnownHosts([]trust.SSHHost{{Host: Host, Port: 22}, {Host: "127.0.0.1", Port: uint16(s.Port())}})
	if err := os.WriteFile(s.KnownHostsFile, lines, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.sessions.Go(func() { s.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		s.listener.Close()
		s.sessions.Wait()
	})
	return s
}

func (s *Sidecar) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.sessions.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			err := s.protocol.Serve(ctx, &session.Session{
				Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:22"), Host: Host, Rules: s.destination.Load, Changed: s.changes.Next,
				DialUpstream: func(ctx context.Context) (net.Conn, error) {
					s.mu.Lock()
					dial := s.Dial
					s.mu.Unlock()
					return dial(ctx)
				},
				Credentials: credentials{s}, Approvals: s.Desk, Recorder: s.Log, Terminal: s.terminal, Log: logr.Discard(),
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			s.errs = append(s.errs, err)
		})
	}
}

func (s *Sidecar) terminal() session.Recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &sessiontest.Log{}
	s.terminals = append(s.terminals, l)
	return l
}

// Terminals are the recordings of terminals so far.
func (s *Sidecar) Terminals() []*sessiontest.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*sessiontest.Log(nil), s.terminals...)
}

// Set changes the sidecar between connections.
func (s *Sidecar) Set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Rules puts another policy in force.
func (s *Sidecar) Rules(target policy.SSH, change ...func(*policy.Policy)) {
	s.destination.Store(Destination(s.t, target, change...))
	s.changes.Announce()
}

// Withdraw lets no policy have the target any more.
func (s *Sidecar) Withdraw() {
	s.destination.Store(nil)
	s.changes.Announce()
}

// credentials implements session.Credentials.
type credentials struct{ s *Sidecar }

// Lease implements session.Credentials.
func (c credentials) Lease(_ context.Context, p, target string) (*session.Lease, error) {
	if p != Policy || target != Target {
		return nil, errors.New("no such lease: " + p + " " + target)
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.Lease, c.s.LeaseErr
}

// Certify implements session.Certifier.
func (c credentials) Certify(_ context.Context, p, target, user string, publicKey []byte) (*session.Lease, error) {
	if p != Policy || target != Target {
		return nil, errors.New("no such authority: " + p + " " + target)
	}
	c.s.mu.Lock()
	certify := c.s.Certify
	c.s.mu.Unlock()
	return certify(user, publicKey)
}

// Port is where agents connect.
func (s *Sidecar) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Address is where agents connect.
func (s *Sidecar) Address() string { return s.listener.Addr().String() }

// Options are those of OpenSSH's programs to reach the sidecar by name, with its host key checked strictly.
func (s *Sidecar) Options() []string {
	return []string{
		"-F", "none", "-o", "Hostname=127.0.0.1", "-o", "HostKeyAlias=" + Host, "-o", "Port=" + strconv.Itoa(s.Port()),
		"-o", "UserKnownHostsFile=" + s.KnownHostsFile, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR",
	}
}

// Command prepares one of OpenSSH's programs: ssh, scp, sftp.
func (s *Sidecar) Command(program string, args ...string) *exec.Cmd {
	all := s.Options()
	if program != "ssh" {
		all = append(all, "-S", filepath.Join(s.Server.Bin, "ssh"))
	}
	cmd := exec.Command(filepath.Join(s.Server.Bin, program), append(all, args...)...)
	cmd.Env = append(s.Server.Environment(), "HOME="+s.t.TempDir())
	return cmd
}

// Client connects with Go's client.
func (s *Sidecar) Client(t testing.TB) *ssh.Client {
	t.Helper()
	plain, err := ssh.NewPublicKey(s.HostKeys.Host.Public())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
		User: "whoever", HostKeyCallback: ssh.FixedHostKey(plain), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
