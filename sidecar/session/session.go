// Package session is what a protocol has at hand for one connection of an agent: the destination's rules, the
// people to ask, the credentials, the recorder and the way upstream. The proxy fills it in, the protocols use it.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Session is one accepted connection, its destination known.
type Session struct {
	// Agent is the pod's end; the protocol closes it.
	Agent net.Conn
	// Original is the address that the agent dialled; Host the name it asked the resolver for, if it did.
	Original netip.AddrPort
	Host     string
	// Rules is the destination's decider as of now. It is asked again for every command: a policy change
	// reaches a live session at its next command.
	Rules func() *policy.Destination
	// Changed returns a channel that is closed once Rules may give others; nil where they never change. WhileAllowed
	// is how to use it.
	Changed func() <-chan struct{}
	// Leaf gives the certificate that the agent is shown (the SNI sent, else the target's hosts and the
	// original address), signed by the pod's own CA.
	Leaf func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// DialUpstream connects to the target by the policy's name for it, never by what the agent claims.
	DialUpstream func(context.Context) (net.Conn, error)
	Credentials  Credentials
	Approvals    Approvals
	Recorder     Recorder
	// Terminal returns a recorder for one interactive terminal, whose log is its own and ends with it: the protocol
	// closes it. Events go there with times relative to the terminal's own start.
	Terminal func() Recorder
	Log      logr.Logger
}

// Protocol serves one kind of target until the session ends. It returns nil when the agent or the server ended
// the session by its own wish.
type Protocol interface {
	Serve(ctx context.Context, s *Session) error
}

// Lease is a credential for a bounded time, kept in memory alone.
type Lease struct {
	Username string
	Password string
	// CertificatePEM and KeyPEM are a client certificate, or an SSH key in KeyPEM.
	CertificatePEM []byte
	KeyPEM         []byte
	Token          string
	// CAPEM is the root of the server that the credential is for, and ServerName what its certificate is verified by
	// where that is not the policy's name for it; of a kubeconfig.
	CAPEM      []byte
	ServerName string
	// NotAfter bounds new use of the lease.
	NotAfter time.Time
}

// Credentials leases what the sidecar presents upstream.
type Credentials interface {
	// Lease returns the credential of the policy's target (policy as namespace/name). Errors say in words a
	// refused agent may read what is wrong: the Secret is missing, has no such key, the operator cannot be
	// reached and no lease stands.
	Lease(ctx context.Context, policy, target string) (*Lease, error)
}

// Certifier is Credentials that also has keys signed.
type Certifier interface {
	// Certify returns a Lease whose CertificatePEM is an SSH certificate, a line in the form of authorized_keys, for the
	// user on the server and the key (RFC 4253 6.6). Errors are as Lease's.
	Certify(ctx context.Context, policy, target, user string, publicKey []byte) (*Lease, error)
}

// Role is what a sidecar found a leased credential to be in a PostgreSQL server.
type Role struct {
	// Policy (namespace/name) and Target are those of the lease.
	Policy string
	Target string
	Name   string
	// Powers are attributes (SUPERUSER) and predefined roles (pg_execute_server_program) by which it reaches more
	// than the data that it was given rights on. Empty: none.
	Powers []string
}

// Ask is a request for human approval.
type Ask struct {
	Verdict  policy.Verdict
	Target   string
	Protocol policy.Protocol
	// Text is masked and bounded; Length is the whole length in bytes; Digest is the SHA-256 (hex) over what
	// will run, bound values included.
	Text   string
	Length int
	Digest string
	// Justification is the agent's own words, if any.
	Justification string
}

// Grant is an approval that may be used now, once, by the command that asked.
type Grant struct {
	// Request is the ApprovalRequest's name; Deciders the people who approved.
	Request  string
	Deciders []string
	// NotAfter is when the grant ends; for a session (policy.RuleAccess), when the session has to. Zero: the session
	// was granted without an end.
	NotAfter time.Time
}

// Errors of Approvals.Await; each is wrapped with the request's name and the reason given.
var (
	ErrDenied      = errors.New("denied")
	ErrExpired     = errors.New("expired")
	ErrPending     = errors.New("waiting for approval")
	ErrUnavailable = errors.New("approvals are unavailable")
)

// Approvals asks people.
type Approvals interface {
	// Await files the ask, calls notify once with the request's name as soon as it has one, and waits for a
	// decision for at most the verdict's WaitSeconds. It returns a Grant already marked used, or an error that
	// wraps one of the above, or ctx's. With WaitSeconds 0 it returns at once: a grant that stands, or
	// ErrPending.
	Await(ctx context.Context, ask Ask, notify func(request string)) (*Grant, error)
}

// Recorder keeps events of one connection; it stamps Time and Connection.
type Recorder interface {
	// Record appends the event. An error means that it was not kept and that the policy blocks on failure: the
	// command must then be refused.
	Record(record.Event) error
	// Flush waits until the operator has acknowledged all that was recorded so far.
	Flush(ctx context.Context) error
	// Close ends the connection's part of the log.
	Close() error
}

// Keeper is a Recorder by which a command can be recorded while the server works on it.
type Keeper interface {
	Recorder
	// Ready tells whether that many events would be kept now.
	Ready(events int) bool
	// Keep appends an event after Ready has said that there is room for it: also where that has changed since, and what
	// others recorded has taken the room.
	Keep(record.Event)
}
