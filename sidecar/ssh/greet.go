package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

const (
	// version is what the sidecar calls itself (RFC 4253 4.2), to agents and to targets.
	version = "SSH-2.0-Chaperone"
	// maxVersion is the longest version line, its end included (RFC 4253 4.2).
	maxVersion = 255
)

// agentConn is an agent's connection behind its handshake.
type agentConn struct {
	conn     *ssh.ServerConn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
}

// greet is the server's side of an agent's handshake. Whoever is in the pod may come in: no authentication, any
// password and any key are accepted, none of which goes anywhere. Without an error and a connection it was a probe.
func (p *Protocol) greet(s *session.Session) (*agentConn, error) {
	conn := &agentSide{Conn: s.Agent, timeout: p.opts.WriteTimeout}
	banner, err := conn.exchangeVersions()
	if errors.Is(err, io.EOF) && banner == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the agent's SSH version: %w", err)
	}
	if !strings.HasPrefix(banner, "SSH-") {
		// OpenSSH's server's words, by which a client behind a forwarding knows what it reached. A client sends no line
		// before its version (RFC 4253 4.2).
		_, _ = write(s.Agent, []byte("Invalid SSH identification string.\r\n"), 0, p.opts.WriteTimeout)
		return nil, errors.New("the agent speaks no SSH")
	}
	config := &ssh.ServerConfig{
		ServerVersion: version,
		NoClientAuth:  true,
		PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			return nil, nil
		},
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, nil
		},
		KeyboardInteractiveCallback: func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			return nil, nil
		},
	}
	config.Ciphers = ciphers(banner)
	config.KeyExchanges = ssh.SupportedAlgorithms().KeyExchanges // none with SHA-1, which the defaults still have
	config.AddHostKey(p.certificate(banner))
	config.AddHostKey(p.opts.Host.Plain)
	out := &agentConn{}
	if out.conn, out.channels, out.requests, err = ssh.NewServerConn(conn, config); err != nil {
		return nil, fmt.Errorf("the agent's SSH handshake: %w", err)
	}
	return out, nil
}

// ciphers are offered to agents, which are in the same pod: AES-GCM has hardware for it and costs half of what ChaCha20
// does. A client's own preference decides (RFC 4253 7.1), and OpenSSH's would be another, so that it is offered nothing
// else. libssh2 before 1.11 and Paramiko before 3.5 know AES-GCM not at all; they are offered AES-CTR as well.
func ciphers(banner string) []string {
	out := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	if !openSSH.MatchString(banner) {
		out = append(out, ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR)
	}
	return out
}

var openSSH = regexp.MustCompile(`^SSH-2\.0-OpenSSH_([0-9]{1,4})\.([0-9]{1,4})`)

// certificate chooses the host certificate that a client takes. OpenSSH refuses certificates without principals from
// 10.3 on, and takes them alone before, because no list can hold every name; others follow the older rule.
func (p *Protocol) certificate(banner string) ssh.Signer {
	if m := openSSH.FindStringSubmatch(banner); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		if major > 10 || major == 10 && minor >= 3 {
			return p.opts.Host.Star
		}
	}
	return p.opts.Host.Unnamed
}

// agentSide is the agent's connection while versions are exchanged by hand: which host certificate is offered depends
// on the client's version, which x/crypto/ssh reads only once it has its keys.
type agentSide struct {
	net.Conn
	timeout time.Duration
	// read is the client's version line, to be read again; skip counts the bytes of our own line, which x/crypto/ssh
	// writes once more.
	read []byte
	skip int
}

// exchangeVersions sends ours and reads the client's line. Only what a client may send before it has seen our key
// exchange follows: nothing is read beyond the line.
func (c *agentSide) exchangeVersions() (string, error) {
	if _, err := c.Conn.Write([]byte(version + "\r\n")); err != nil {
		return "", err
	}
	c.skip = len(version) + 2
	var one [1]byte
	for len(c.read) < maxVersion {
		if _, err := io.ReadFull(c.Conn, one[:]); err != nil {
			return string(c.read), err
		}
		c.read = append(c.read, one[0])
		if one[0] == '\n' {
			return string(bytes.TrimRight(c.read, "\r\n")), nil
		}
	}
	return string(c.read), fmt.Errorf("more than %d bytes without an end", maxVersion)
}

func (c *agentSide) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *agentSide) Write(p []byte) (int, error) {
	skipped := min(c.skip, len(p))
	c.skip -= skipped
	if skipped == len(p) {
		return skipped, nil
	}
	return write(c.Conn, p[skipped:], skipped, c.timeout)
}

// write gives a peer that takes nothing only so long. The handshake's own deadline is shorter and holds before.
func write(conn net.Conn, p []byte, before int, timeout time.Duration) (int, error) {
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return before, err
	}
	n, err := conn.Write(p)
	return before + n, err
}
