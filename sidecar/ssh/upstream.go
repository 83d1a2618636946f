package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// upstream is an established connection to the target.
type upstream struct {
	conn ssh.Conn
	user string
	gone chan struct{} // closed when it has ended
	err  error         // why, once gone is closed
}

func (u *upstream) close() { _ = u.conn.Close() }

// reach asks people for access where that is needed, and connects. It records how the connection began.
func (c *connection) reach(ctx context.Context) (*upstream, error) {
	event := record.Event{
		Kind: record.KindConnect, Protocol: string(policy.ProtocolSSH), Peer: c.session.Original.String(),
	}
	d, err := c.destination()
	if err == nil {
		c.kept, c.settings = d, d.SSH()
		if c.detectors, err = mask.Compile(c.settings.Masking); err != nil {
			err = failure(err, fmt.Sprintf("connections to target %s are refused: %v", d.Name(), err), "")
		}
	}
	event.Client, _ = c.masking().Text(string(c.agent.conn.ClientVersion()), 256)
	var up *upstream
	if err == nil {
		if err = c.admit(ctx, d); err == nil {
			up, err = c.connect(ctx, d)
		}
	}
	if up != nil {
		event.User = up.user
	}
	if rerr := c.record(event); rerr != nil && err == nil {
		up.close()
		up, err = nil, unrecorded(rerr)
	}
	return up, err
}

// connect logs in to the target in the agent's place.
func (c *connection) connect(ctx context.Context, d *policy.Destination) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.protocol.opts.ConnectTimeout)
	defer cancel()
	t, err := newTarget(d)
	if err != nil {
		return nil, err
	}
	login, err := c.login(ctx, t)
	if err != nil {
		return nil, err
	}
	config := &ssh.ClientConfig{
		User: login.user, Auth: login.methods, ClientVersion: version,
		HostKeyCallback: t.known.callback(t.hosts), HostKeyAlgorithms: t.known.algorithms(),
	}
	// As OpenSSH's client, which offers no key exchange with SHA-1 any more.
	config.KeyExchanges = ssh.SupportedAlgorithms().KeyExchanges
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		up, busy, err := c.dial(ctx, t, config)
		if err == nil {
			return up, nil
		}
		if !busy || ctx.Err() != nil {
			return nil, t.explain(err, login)
		}
		// The server takes no more connections that have not logged in (sshd_config(5), MaxStartups).
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, t.explain(err, login)
		}
	}
}

// errBusy is a server that hung up before it said what it is.
var errBusy = errors.New("it hangs up before it says what it is; it may have too many connections that have not logged in yet")

// dial connects once; busy says that the server hung up before it had said its version.
func (c *connection) dial(ctx context.Context, t *target, config *ssh.ClientConfig) (up *upstream, busy bool, err error) {
	raw, err := c.session.DialUpstream(ctx)
	if err != nil {
		return nil, false, err
	}
	conn := &upstreamSide{Conn: raw, timeout: c.protocol.opts.WriteTimeout}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	client, channels, requests, err := ssh.NewClientConn(conn, raw.RemoteAddr().String(), config)
	if !stop() && err == nil {
		client.Close()
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if said := conn.preamble(); said != "" {
			err = fmt.Errorf("it says %q: %w", said, err)
		}
		if !conn.versioned() && ctx.Err() == nil {
			return nil, true, fmt.Errorf("%w: %w", errBusy, err)
		}
		return nil, false, err
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		client.Close()
		return nil, false, fmt.Errorf("clearing the connection's deadline: %w", err)
	}
	up = &upstream{conn: client, user: config.User, gone: make(chan struct{})}
	go func() {
		up.err = fmt.Errorf("the connection to target %s was lost: %w", t.name, client.Wait())
		close(up.gone)
		// What ran is told first.
		time.Sleep(lossGrace)
		c.cancel(up.err)
	}()
	go c.upstreamRequests(up, requests)
	go c.upstreamChannels(channels)
	go c.keepalive(up, conn)
	return up, false, nil
}

// lossGrace is how long sessions have to tell the agent that the target is gone.
const lossGrace = time.Second

// keepalive notices a target that is gone without a word.
func (c *connection) keepalive(up *upstream, conn *upstreamSide) {
	interval := c.protocol.opts.KeepaliveInterval
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		before := conn.heard()
		select {
		case <-up.gone:
			return
		case <-tick.C:
		}
		if conn.heard() != before {
			continue
		}
		patience := time.AfterFunc(interval, func() { up.close() })
		_, _, err := up.conn.SendRequest("keepalive@openssh.com", true, nil)
		patience.Stop()
		if err != nil {
			return
		}
	}
}

// upstreamSide is the target's connection: it bounds writes, and notes what is heard.
type upstreamSide struct {
	net.Conn
	timeout time.Duration

	mu    sync.Mutex // guards what follows
	first []byte     // of what was read
	bytes uint64
}

// maxPreamble is enough of what a server says before its version.
const maxPreamble = 512

func (u *upstreamSide) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bytes += uint64(n)
	if room := maxPreamble - len(u.first); room > 0 {
		u.first = append(u.first, p[:min(n, room)]...)
	}
	return n, err
}

func (u *upstreamSide) Write(p []byte) (int, error) { return write(u.Conn, p, 0, u.timeout) }

func (u *upstreamSide) heard() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bytes
}

func (u *upstreamSide) versioned() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return bytes.HasPrefix(u.first, []byte("SSH-")) || bytes.Contains(u.first, []byte("\nSSH-"))
}

// preamble are lines before the version (RFC 4253 4.2): sshd says there why it hangs up.
func (u *upstreamSide) preamble() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	text, _, _ := bytes.Cut(append([]byte("\n"), u.first...), []byte("\nSSH-"))
	return strings.TrimSpace(printable(string(text)))
}

// target is what is needed to reach and to name a destination.
type target struct {
	name     string
	hosts    []string
	port     uint16
	settings *policy.SSHSettings
	known    *knownHosts
}

func newTarget(d *policy.Destination) (*target, error) {
	t := &target{name: d.Name(), hosts: d.Hosts(), port: d.Port(), settings: d.SSH()}
	var err error
	if t.known, err = parseKnownHosts(t.settings.KnownHosts, t.hosts, t.port); err != nil {
		return nil, failure(err, fmt.Sprintf("the identity of target %s is not known: %v", t.name, err),
			"Whoever owns the policy has to correct ssh.knownHosts; nothing was sent.")
	}
	return t, nil
}

// where names the target for a message.
func (t *target) where() string {
	return fmt.Sprintf("target %s (%s port %d)", t.name, t.hosts[0], t.port)
}

// declined is how x/crypto/ssh words a server that answers keyboard-interactive with a failure (51) before it asked
// anything (60), as sshd does without PAM.
const declined = "unexpected message type 51 (expected 60)"

// explain puts a failed connection in words that an agent may read.
func (t *target) explain(err error, l *login) error {
	switch text := err.Error(); {
	case errors.Is(err, errUnknownHost):
		return failure(err, fmt.Sprintf("%s is not who the policy says: %s", t.where(), reason(err, errUnknownHost)),
			"Whoever owns the policy has to correct ssh.knownHosts if the server's key was changed; no credential was sent.")
	case strings.Contains(text, "unable to authenticate"), strings.Contains(text, declined):
		r := failure(err, fmt.Sprintf("%s does not accept the credential that the policy gives for user %s", t.where(), l.user),
			"Whoever owns the policy has to correct its Secret; the next connection uses it.")
		if !t.settings.HasLease {
			r.message = fmt.Sprintf("%s does not let user %s in without a credential, and the policy gives none", t.where(), l.user)
			r.hint = "Whoever owns the policy has to name one (ssh.credentials)."
		} else {
			r.detail = "policy " + t.settings.Lease.Policy + ", target " + t.settings.Lease.Target
		}
		return r
	case errors.Is(err, errBusy):
		return failure(err, fmt.Sprintf("could not connect to %s: %v", t.where(), err), "Try again in a while.")
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return failure(err, t.where()+" did not answer in time", "")
	case errors.Is(err, io.EOF):
		return failure(err, t.where()+" hung up during the handshake", "")
	default:
		return failure(err, fmt.Sprintf("could not connect to %s: %v", t.where(), err), "")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// reason is an error's text from what a known error says on: what is around it means nothing to an agent.
func reason(err, known error) string {
	text := err.Error()
	if at := strings.Index(text, known.Error()); at >= 0 {
		return text[at:]
	}
	return text
}

// chooseUser is the user on the server: the policy's, one of those that it lists, or the credential's own.
func (t *target) chooseUser(asked, leased string) (string, error) {
	switch s := t.settings; {
	case s.User != "":
		return s.User, nil
	case s.Users != nil:
		if slices.Contains(s.Users, asked) {
			return asked, nil
		}
		return "", &refusal{status: statusDenied, message: fmt.Sprintf(deniedPrefix+"user %q of target %s", asked, t.name),
			detail: "The policy lets in as: " + strings.Join(s.Users, ", "), hint: "Name one of these (ssh user@host)."}
	case leased != "":
		return leased, nil
	}
	return "", failure(nil, fmt.Sprintf("no user is known for target %s", t.name),
		"Whoever owns the policy has to say ssh.user or ssh.users, or put a key username into its Secret.")
}
