package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// upstream is an established connection to the target.
type upstream struct {
	conn       net.Conn
	user       string
	parameters map[string]string
	path       []string
	role       string
	shared     *catalogue.Shared
	cancel     func(context.Context) error
	greeted    bool          // the agent has its AuthenticationOk already
	until      time.Duration // how long the session may last; 0: without end
}

// target is what is needed to reach and to name a destination.
type target struct {
	*policy.Destination
	settings *policy.PostgresSettings
	host     string
	tls      *tls.Config
}

// newTarget takes the destination's settings together. The host, by which the server's certificate is verified,
// is the policy's name for it.
func newTarget(d *policy.Destination, asked string) (*target, error) {
	t := &target{Destination: d, settings: d.Postgres()}
	if hosts := d.Hosts(); len(hosts) > 0 {
		t.host = hosts[0]
		for _, h := range hosts {
			if strings.EqualFold(h, strings.TrimSuffix(asked, ".")) {
				t.host = h
			}
		}
	}
	mode := t.settings.TLSMode
	if mode == policy.TLSDisable {
		return t, nil
	}
	t.tls = &tls.Config{ServerName: t.host, MinVersion: tls.VersionTLS12}
	if mode == policy.TLSRequire {
		t.tls.InsecureSkipVerify = true // what Require means; secrets are guarded by requireAuth
		return t, nil
	}
	if len(t.settings.CAPEM) > 0 {
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(t.settings.CAPEM) {
			return nil, refuse("08001", fmt.Sprintf("the certificate authority of target %s (postgres.tls.caFrom) holds no certificate", d.Name()), "")
		}
	}
	if mode == policy.TLSVerifyCA {
		t.tls.InsecureSkipVerify = true // the chain is verified below, the name is not
		t.tls.VerifyConnection = t.verifyChain
	}
	return t, nil
}

func (t *target) verifyChain(state tls.ConnectionState) error {
	opts := x509.VerifyOptions{Roots: t.tls.RootCAs, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// verified tells whether the server's identity is proved before a secret is sent.
func (t *target) verified() bool {
	return t.settings.TLSMode == policy.TLSVerifyCA || t.settings.TLSMode == policy.TLSVerifyFull
}

// requireAuth is what an unverified server may ask for: SCRAM proves that both sides know the password without
// showing it. A password in clear, or an MD5 of it, would be a gift.
const requireAuth = "scram-sha-256,none"

// connect connects to the target in the agent's place.
func (p *Protocol) connect(ctx context.Context, s *session.Session, t *target, rules *wire.Rules, start *wire.Startup) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.ConnectTimeout)
	defer cancel()
	runtime, err := start.Settings(t.settings.Limits.StatementTimeoutMS)
	if err != nil {
		return nil, refuse("42501", err.Error(), "Leave the parameter out of the connection string.")
	}
	config, err := pgconn.ParseConfig("host=upstream port=5432 user=upstream sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, fmt.Errorf("preparing the upstream connection: %w", err)
	}
	config.Host, config.Port = t.host, t.Port()
	config.User, config.Password, config.Database = start.Get("user"), "", database(start)
	config.RuntimeParams, config.Fallbacks, config.ValidateConnect = runtime, nil, nil
	config.MaxProtocolMessageBodyLen = maxConnectMessage
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.DialUpstream(ctx) }
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	if t.tls != nil {
		config.TLSConfig = t.tls.Clone()
	}
	if !t.verified() {
		config.RequireAuth = requireAuth
	}
	if t.settings.HasLease {
		if err := t.lease(ctx, s, config); err != nil {
			return nil, err
		}
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, t.explain(err, config.User)
	}
	up, err := p.survey(ctx, t, rules, conn, config)
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return up, nil
}

// maxConnectMessage bounds what the server says before the session begins; a view's definition is the longest.
const maxConnectMessage = 64 << 20

// lease fills in the policy's credential.
func (t *target) lease(ctx context.Context, s *session.Session, config *pgconn.Config) error {
	ref := t.settings.Lease
	lease, err := s.Credentials.Lease(ctx, ref.Policy, ref.Target)
	if err != nil {
		return &Refusal{Code: "28000", Message: fmt.Sprintf("no credential for target %s: %v", ref.Target, err),
			Detail: "policy " + ref.Policy + ", target " + ref.Target, cause: err}
	}
	if lease.Username != "" {
		config.User = lease.Username
	}
	config.Password = lease.Password
	if len(lease.CertificatePEM) > 0 {
		if config.TLSConfig == nil {
			return refuse("28000", fmt.Sprintf("the credential of target %s is a client certificate, and the policy's TLS mode is Disable", ref.Target), "")
		}
		pair, err := tls.X509KeyPair(lease.CertificatePEM, lease.KeyPEM)
		if err != nil {
			return &Refusal{Code: "28000", Message: fmt.Sprintf("the client certificate of target %s cannot be read", ref.Target),
				Detail: "policy " + ref.Policy + ", target " + ref.Target, Hint: "Whoever owns the policy has to correct its Secret.", cause: err}
		}
		config.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// explain puts a failed connection in words that an agent may read.
func (t *target) explain(err error, user string) error {
	where := fmt.Sprintf("target %s (%s port %d)", t.Name(), t.host, t.Port())
	var (
		server      *pgconn.PgError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
	)
	switch {
	case errors.As(err, &server):
		r := &Refusal{Code: server.Code, Message: server.Message, cause: err}
		if class := server.Code[:min(2, len(server.Code))]; class == "28" && t.settings.HasLease {
			ref := t.settings.Lease
			r.Message = fmt.Sprintf("%s does not accept the credential that the policy gives: %s", where, server.Message)
			r.Detail = fmt.Sprintf("policy %s, target %s, user %q%s", ref.Policy, ref.Target, user, t.secret())
			r.Hint = "Whoever owns the policy has to correct its Secret; the next connection uses it."
		} else if class == "28" {
			r.Detail = "The policy gives no credential for " + where + ", so the server has to accept the user without a password."
		}
		return r
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname):
		return &Refusal{Code: "08001", Message: fmt.Sprintf("the certificate of %s does not verify: %s", where, root(err)),
			Detail: fmt.Sprintf("The policy's TLS mode is %s; nothing was sent.", t.settings.TLSMode),
			Hint:   "Whoever owns the policy has to name the right authority (postgres.tls.caFrom) or host.", cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Code: "08001", Message: where + " did not answer in time", cause: err}
	}
	r := &Refusal{Code: "08001", Message: fmt.Sprintf("could not connect to %s: %s", where, root(err)), cause: err}
	if !t.verified() {
		r.Hint = fmt.Sprintf("The policy's TLS mode is %s, so the server's identity is not proved and it gets no password in clear or as MD5.", t.settings.TLSMode)
	}
	return r
}

// secret names where the credential comes from, where the policy says.
func (t *target) secret() string {
	for _, ref := range t.Targets() {
		if pg := ref.Target.Postgres; pg != nil && pg.CredentialsID != "" && ref.Policy == t.settings.Lease.Policy {
			return ", Secret " + pg.CredentialsID
		}
	}
	return ""
}

// root is the innermost error's text: those around it name hosts and users that mean nothing to an agent.
func root(err error) string {
	for {
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			inner := e.Unwrap()
			if inner == nil {
				return err.Error()
			}
			err = inner
		case interface{ Unwrap() []error }:
			inner := e.Unwrap()
			if len(inner) == 0 {
				return err.Error()
			}
			err = inner[len(inner)-1]
		default:
			return err.Error()
		}
	}
}

// newestServer is the newest major version that is known to mean what the grammar reads.
const newestServer = 18

// survey asks the new connection what the session has to know, and takes it from pgconn.
func (p *Protocol) survey(ctx context.Context, t *target, rules *wire.Rules, conn *pgconn.PgConn, config *pgconn.Config) (*upstream, error) {
	if major := majorVersion(conn.ParameterStatus("server_version")); major > newestServer {
		return nil, refuse("0A000", fmt.Sprintf("target %s runs PostgreSQL %d, whose statements may mean more than is understood: %d is the newest", t.Name(), major, newestServer), "")
	}
	results, err := conn.Exec(ctx, wire.PathQuery).ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, &Refusal{Code: "08006", Message: "asking target " + t.Name() + " for its search_path: " + fmt.Sprint(err), cause: err}
	}
	row := results[0].Rows[0]
	up := &upstream{user: config.User, path: wire.ParsePath(string(row[0])), role: string(row[1])}
	up.shared = p.shared(net.JoinHostPort(t.host, strconv.Itoa(int(t.Port()))), config.Database, config.User)
	if rules.ByName() || len(up.path) > 1 {
		if err := readCatalogue(ctx, conn, up.shared); err != nil {
			return nil, &Refusal{Code: "08006", Message: fmt.Sprintf("reading the relations of target %s: %v", t.Name(), err),
				cause: err}
		}
	}
	// Hijacking before what is still buffered has been dealt with would lose it.
	if err := conn.SyncConn(ctx); err != nil {
		return nil, &Refusal{Code: "08006", Message: "taking over the connection to target " + t.Name(), cause: err}
	}
	taken, err := conn.Hijack()
	if err != nil {
		return nil, &Refusal{Code: "08006", Message: "taking over the connection to target " + t.Name(), cause: err}
	}
	up.conn, up.parameters = taken.Conn, taken.ParameterStatuses
	pid, key := taken.PID, taken.SecretKey
	up.cancel = func(ctx context.Context) error { return t.cancel(ctx, config, pid, key) }
	if err := up.conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clearing the connection's deadline: %w", err)
	}
	return up, nil
}

// readCatalogue reads what is not known of the database's relations.
func readCatalogue(ctx context.Context, conn *pgconn.PgConn, shared *catalogue.Shared) error {
	_, epoch, unknown := shared.Current()
	if !unknown {
		return nil
	}
	b := catalogue.NewBuilder()
	results := conn.Exec(ctx, catalogue.Query)
	for i := 0; results.NextResult(); i++ {
		rows := results.ResultReader()
		for rows.NextRow() {
			if err := b.Row(i, rows.Values()); err != nil {
				_ = results.Close()
				return err
			}
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	shared.Set(b.Build(), epoch)
	return nil
}

func majorVersion(text string) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 1000 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// cancel asks the server to cancel what the session runs, over a connection of its own.
func (t *target) cancel(ctx context.Context, config *pgconn.Config, pid uint32, key []byte) error {
	if pid == 0 || len(key) != 4 {
		return errors.New("the server gave no cancel key")
	}
	ctx, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	conn, err := config.DialFunc(ctx, "", "")
	if err != nil {
		return fmt.Errorf("connecting to cancel: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if config.TLSConfig != nil {
		if conn, err = requestTLS(ctx, conn, config.TLSConfig); err != nil {
			return fmt.Errorf("TLS to cancel: %w", err)
		}
	}
	m := pgproto3.CancelRequest{ProcessID: pid, SecretKey: uint32(key[0])<<24 | uint32(key[1])<<16 | uint32(key[2])<<8 | uint32(key[3])}
	packet, err := m.Encode(nil)
	if err != nil {
		return err
	}
	if _, err := conn.Write(packet); err != nil {
		return fmt.Errorf("sending the cancel request: %w", err)
	}
	// The server hangs up when it has signalled the session: then the cancel is on its way.
	_, _ = conn.Read(make([]byte, 1))
	return nil
}

func requestTLS(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	packet, err := (&pgproto3.SSLRequest{}).Encode(nil)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := conn.Read(answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server refused TLS")
	}
	t := tls.Client(conn, config)
	return t, t.HandshakeContext(ctx)
}
