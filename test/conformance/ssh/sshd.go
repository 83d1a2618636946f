package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// actAsSshd is what the scripts take for sshd: the real one, with the sidecar before it on that side. Its arguments are
// the side, the real program, a file for what is denied, and sshd's own arguments.
func actAsSshd(args []string) error {
	side, program, denied, args := args[0], args[1], args[2], args[3:]
	// The package's configuration of PAM is installed nowhere.
	own := append([]string{"-o", "UsePAM=no"}, args...)
	if side == "direct" || slices.Contains(args, "-t") || slices.Contains(args, "-T") || slices.Contains(args, "-V") {
		return syscall.Exec(program, append([]string{program}, own...), os.Environ())
	}
	at := slices.Index(args, "-f")
	if at < 0 || at+1 >= len(args) {
		return fmt.Errorf("sshd is given no configuration: %q", args)
	}
	config, err := readConfig(args[at+1])
	if err != nil {
		return err
	}
	if slices.Contains(args, "-i") {
		return inetd(config, program, denied, own)
	}
	return daemon(config, args[at+1], program, denied, own)
}

// config is an sshd_config: all values of each keyword.
type config map[string][]string

func readConfig(file string) (config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := make(config)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		out[strings.ToLower(name)] = append(out[strings.ToLower(name)], strings.TrimSpace(value))
	}
	return out, nil
}

// before makes the sidecar that stands before the configured server: it proves itself by the server's own Ed25519 key,
// which the scripts' clients know, and logs in by the scripts' key.
func (c config) before(denied string) (*sidecar, error) {
	var known []byte
	var signers *trust.HostSigners
	for _, file := range c["hostkey"] {
		public := strings.Replace(file, "/host.", "/", 1) + ".pub"
		line, err := os.ReadFile(public)
		if err != nil {
			return nil, err
		}
		known = append(append(known, sshserver.Host+" "...), line...)
		if !strings.HasSuffix(file, "ssh-ed25519") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		plain, err := xssh.ParsePrivateKey(text)
		if err != nil {
			return nil, err
		}
		// The clients know no authority, so that which certificates are offered does not matter.
		signers = &trust.HostSigners{Plain: plain, Unnamed: plain, Star: plain}
	}
	if signers == nil {
		return nil, fmt.Errorf("the server has no host key of type ssh-ed25519: %q", c["hostkey"])
	}
	key, err := os.ReadFile(filepath.Join(filepath.Dir(c["hostkey"][0]), "ssh-ed25519"))
	if err != nil {
		return nil, err
	}
	return newSidecar(signers, "root", known, key, denied)
}

// inetd serves the one connection on standard input (sshd -i).
func inetd(c config, program, denied string, args []string) error {
	s, err := c.before(denied)
	if err != nil {
		return err
	}
	// The client has pipes.
	agent, out, err := socketpair()
	if err != nil {
		return err
	}
	client, err := net.FileConn(out)
	if err != nil {
		return err
	}
	out.Close()
	go func() {
		_, _ = io.Copy(client, os.Stdin)
		_ = client.(*net.UnixConn).CloseWrite()
	}()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.Copy(os.Stdout, client)
		_ = os.Stdout.Close()
	}()
	s.dial = func(context.Context) (net.Conn, error) {
		near, far, err := socketpair()
		if err != nil {
			return nil, err
		}
		defer far.Close()
		cmd := exec.Command(program, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		go func() { _ = cmd.Wait() }()
		return near, nil
	}
	err = s.serve(agent)
	<-written
	return err
}

// socketpair is a connection and the file of its other end.
func socketpair() (net.Conn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	conn, err := net.FileConn(near)
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return conn, far, nil
}

// daemon starts the real server on another port, and the sidecar on the configured one for as long as the server's file
// with its process id is there.
func daemon(c config, file, program, denied string, args []string) error {
	if len(c["port"]) == 0 {
		return errNoPort
	}
	port, err := strconv.Atoi(c["port"][0])
	if err != nil {
		return err
	}
	behind := port + 20000
	run := exec.Command(program, append([]string{"-p", strconv.Itoa(behind)}, args...)...)
	run.Stderr = os.Stderr
	if err := run.Run(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	front := exec.Command(self, frontVerb, file, strconv.Itoa(port), strconv.Itoa(behind), denied)
	front.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := front.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("the sidecar does not listen on port %d", port)
}

// actAsFront is the sidecar beside a daemon.
func actAsFront(args []string) error {
	file, port, behind, denied := args[0], args[1], args[2], args[3]
	c, err := readConfig(file)
	if err != nil {
		return err
	}
	s, err := c.before(denied)
	if err != nil {
		return err
	}
	s.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+behind)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	go s.listen(l)
	began := time.Now()
	for seen := false; ; time.Sleep(50 * time.Millisecond) {
		_, err := os.Stat(c["pidfile"][0])
		seen = seen || err == nil
		if err != nil && (seen || time.Since(began) > 30*time.Second) {
			return l.Close()
		}
	}
}
