package sshserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Host is the name in the server's host certificate. It resolves nowhere: whoever dials it goes to Server.Address.
const Host = "bastion.test"

// ErrNeedsRoot says that the server cannot run here.
var ErrNeedsRoot = errors.New("an sshd with users of its own needs root")

// Server is a running sshd.
type Server struct {
	*Installation
	// Port is the TCP port on 127.0.0.1.
	Port int
	// HostKey is the server's plain key, HostAuthority what signed its certificate for Host.
	HostKey       ssh.PublicKey
	HostAuthority ssh.PublicKey
	// UserKey, in PEM, logs in; Authority signs user certificates that do.
	UserKey   []byte
	Authority ssh.Signer
	// AuthorityKey is Authority's key in PEM.
	AuthorityKey []byte

	dir     string
	extra   []string
	process *exec.Cmd
	exited  chan struct{}
	log     buffer
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Start runs a server in a new temporary folder. Settings are lines of sshd_config that come before those of the test's
// configuration, so that they win. Stop removes everything.
func Start(settings ...string) (*Server, error) {
	if os.Getuid() != 0 {
		return nil, ErrNeedsRoot
	}
	in, err := Install()
	if err != nil {
		return nil, fmt.Errorf("getting OpenSSH: %w", err)
	}
	dir, err := os.MkdirTemp("", "chaperone-sshd-")
	if err != nil {
		return nil, err
	}
	s := &Server{Installation: in, dir: dir, extra: settings}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) start() error {
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if err := s.writeUsers(); err != nil {
		return fmt.Errorf("making users: %w", err)
	}
	if err := s.writeKeys(); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("looking for a free port: %w", err)
	}
	s.Port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	if err := s.writeConfig(); err != nil {
		return err
	}
	return s.Up()
}

// newKey makes an Ed25519 key.
func newKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return signer, pem.EncodeToMemory(block), err
}

func (s *Server) writeKeys() error {
	host, hostPEM, err := newKey()
	if err != nil {
		return err
	}
	authority, _, err := newKey()
	if err != nil {
		return err
	}
	certificate := &ssh.Certificate{Key: host.PublicKey(), CertType: ssh.HostCert, KeyId: Host, ValidPrincipals: []string{Host}, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		return err
	}
	user, userPEM, err := newKey()
	if err != nil {
		return err
	}
	if s.Authority, s.AuthorityKey, err = newKey(); err != nil {
		return err
	}
	s.HostKey, s.HostAuthority, s.UserKey = host.PublicKey(), authority.PublicKey(), userPEM
	for name, content := range map[string][]byte{
		"host": hostPEM, "host-cert.pub": ssh.MarshalAuthorizedKey(certificate),
		"authorized_keys": ssh.MarshalAuthorizedKey(user.PublicKey()), "user_ca.pub": ssh.MarshalAuthorizedKey(s.Authority.PublicKey()),
	} {
		mode := os.FileMode(0o644)
		if name == "host" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(s.dir, name), content, mode); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) writeConfig() error {
	in := func(name string) string { return filepath.Join(s.dir, name) }
	lines := append([]string{}, s.extra...)
	lines = append(lines,
		"Port "+strconv.Itoa(s.Port), "ListenAddress 127.0.0.1", "HostKey "+in("host"), "HostCertificate "+in("host-cert.pub"),
		"AuthorizedKeysFile "+in("authorized_keys"), "TrustedUserCAKeys "+in("user_ca.pub"), "StrictModes no", "UsePAM no", "UseDNS no",
		"PidFile none", "PasswordAuthentication yes", "LogLevel VERBOSE", "AcceptEnv LANG LC_* GIT_PROTOCOL _XXX_TEST*", "PrintMotd no", "PrintLastLog no",
		"AllowStreamLocalForwarding yes", "GatewayPorts no", "MaxSessions 100", "MaxStartups 100", "Subsystem sftp "+s.SFTPServer,
	)
	return os.WriteFile(in("config"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// script gives the server files of its own where sshd looks for them at fixed places.
const script = `set -e
mount -t tmpfs tmpfs /run
mkdir -m 0755 /run/sshd
for f in passwd group shadow; do mount --bind "$1/$f" /etc/$f; done
mount -t proc proc /proc
exec "$2" -D -e -f "$1/config"`

// Up runs the server and waits until it answers; after Down, with the same keys on the same port.
func (s *Server) Up() error {
	s.process = exec.CommandContext(context.Background(), "/bin/sh", "-c", script, "sh", s.dir, s.Sshd)
	s.process.Env = s.Environment()
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS,
	}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("starting sshd: %w", err)
	}
	s.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) { _ = p.Wait(); close(exited) }(s.process, s.exited)
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", s.Address(), time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("sshd ended: %s", s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sshd did not answer within 30 s: %w", err)
		}
	}
}

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Log is what the server has said.
func (s *Server) Log() string { return s.log.String() }

// KnownHosts is the line by which the server's plain key is known under a name and port.
func (s *Server) KnownHosts(host string, port int) []byte {
	if port != 22 {
		host = "[" + host + "]:" + strconv.Itoa(port)
	}
	return append([]byte(host+" "), ssh.MarshalAuthorizedKey(s.HostKey)...)
}

// Down ends the server and every process of its sessions at once.
func (s *Server) Down() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	// It is the first process of its namespace: all others end with it.
	_ = s.process.Process.Kill()
	<-s.exited
	s.process = nil
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	s.Down()
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("removing the server's folder: %w", err)
	}
	return nil
}
