package postgresserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Superuser is the role that initdb makes; Server.Password is its password.
const Superuser = "postgres"

// Hosts are the names and addresses in the server's certificate. The names resolve nowhere: whoever dials them
// goes to Server.Address.
var Hosts = []string{"localhost", "127.0.0.1", "db.test"}

// Roles whose authentication method differs from SCRAM, by pg_hba.conf; a test creates those it needs.
const (
	RoleTrust       = "auth_trust"       // no password asked
	RoleCleartext   = "auth_cleartext"   // AuthenticationCleartextPassword
	RoleMD5         = "auth_md5"         // AuthenticationMD5Password
	RoleCertificate = "auth_certificate" // a client certificate of the test authority, over TLS alone
)

const hba = `local all all trust
host all ` + RoleTrust + ` all trust
host all ` + RoleCleartext + ` all password
host all ` + RoleMD5 + ` all md5
hostssl all ` + RoleCertificate + ` all cert
hostnossl all ` + RoleCertificate + ` all reject
host all all all scram-sha-256
host replication all all scram-sha-256
`

// Server is a running PostgreSQL.
type Server struct {
	*Installation
	// Authority signed the server's certificate and signs client certificates.
	Authority *Authority
	// Password is the superuser's, random.
	Password string
	// Port is the TCP port on 127.0.0.1.
	Port int

	dir     string
	extra   []string
	process *exec.Cmd
	exited  chan struct{}
	log     *bytes.Buffer
}

// Start makes a cluster in a new temporary folder and runs it. Settings are "name=value" lines on top of a
// configuration for tests (no fsync). Stop removes everything.
func Start(settings ...string) (*Server, error) {
	in, err := Install()
	if err != nil {
		return nil, fmt.Errorf("getting PostgreSQL: %w", err)
	}
	return in.Start(settings...)
}

// Start is the package's Start with the installation's own server.
func (in *Installation) Start(settings ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "chaperone-pg-")
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
	secret := make([]byte, 12)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	s.Password = hex.EncodeToString(secret)
	if err := s.prepare(); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Port = port
	return s.Up()
}

// prepare runs initdb and writes certificates and configuration.
func (s *Server) prepare() error {
	var err error
	if s.Authority, err = NewAuthority("test database authority"); err != nil {
		return err
	}
	cert, key, err := s.Authority.Issue(Hosts[0], Hosts...)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"password":   []byte(s.Password),
		"server.crt": cert,
		"server.key": key,
		"root.crt":   s.Authority.PEM,
		"hba":        []byte(hba),
	}
	if uid, gid, ok := s.owner(); ok {
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	for name, content := range files {
		if _, err := s.Put(name, content); err != nil {
			return err
		}
	}
	initdb := s.Command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", Superuser, "-A", "scram-sha-256",
		"--pwfile", filepath.Join(s.dir, "password"), "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// Put writes a file into the server's folder, for its user and the programs of Command to read.
func (s *Server) Put(name string, content []byte) (path string, err error) {
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", err
	}
	if uid, gid, ok := s.owner(); ok {
		return path, os.Chown(path, uid, gid)
	}
	return path, nil
}

// owner is the unprivileged user that postgres runs as when the test runs as root: nobody, by Debian's number.
func (s *Server) owner() (uid, gid int, ok bool) {
	return 65534, 65534, os.Getuid() == 0
}

// Command prepares one of the installation's programs to run as the server's own user, in its folder.
func (s *Server) Command(program string, args ...string) *exec.Cmd {
	path, env := s.program(program)
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(env, "HOME="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if uid, gid, ok := s.owner(); ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return cmd
}

// Up runs the server on its port and waits until it answers; after Down, on the same data.
func (s *Server) Up() error {
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.Port)}
	settings := append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=" + s.dir, "hba_file=" + filepath.Join(s.dir, "hba"),
		"ssl=on", "ssl_cert_file=" + filepath.Join(s.dir, "server.crt"), "ssl_key_file=" + filepath.Join(s.dir, "server.key"),
		"ssl_ca_file=" + filepath.Join(s.dir, "root.crt"),
		"fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=150",
		"autovacuum=off", "logging_collector=off", "jit=off",
	}, s.extra...)
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.process = s.Command("postgres", args...)
	s.log = &bytes.Buffer{}
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	s.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) { _ = p.Wait(); close(exited) }(s.process, s.exited)
	return s.await(30 * time.Second)
}

func (s *Server) await(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		conn, err := pgconn.Connect(ctx, s.DSN(Superuser, s.Password, "postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("postgres ended: %s", s.log)
		case <-ctx.Done():
			return fmt.Errorf("postgres did not answer within %s: %w", limit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// DSN is a connection string past the sidecar, without TLS.
func (s *Server) DSN(user, password, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' dbname=%s sslmode=disable", s.Port, user, password, database)
}

// Down ends the server at once, as a crash would; its data stays.
func (s *Server) Down() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Signal(syscall.SIGQUIT)
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

// freePort takes a port that was free a moment ago; the server binds it next, and says so when it lost the race.
func freePort() (int, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
