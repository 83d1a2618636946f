package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// upstream is an established connection to the target.
type upstream struct {
	conn       net.Conn
	rules      *wire.Rules // by which the session began
	user       string
	parameters map[string]string
	path       []string
	pathChosen bool // by the agent, in its startup packet
	role       string
	shared     *catalogue.Shared
	forget     func() // ends the use of shared
	pid        uint32 // the server's process, 0 where it has not said
	cancel     func(context.Context) error
}

// prepare makes the upstream connection.
func (p *Protocol) prepare(ctx context.Context, s *session.Session, start *wire.Startup, rules *wire.Rules) (*upstream, error) {
	t, err := newTarget(rules.Destination(), s.Host)
	if err != nil {
		return nil, err
	}
	return p.connect(ctx, s, t, rules, start)
}

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
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := s.DialUpstream(ctx)
		if err != nil {
			return nil, err
		}
		return &transport{Conn: conn}, nil
	}
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

// newestServer is the newest major version that is known to mean what the grammar reads.
const newestServer = 18

// serverQuery asks which start of a server this is, and which database of it: a name may lead to another server after a
// failover, and to a database that was made anew, and what was known of the one says nothing of the other. The time is
// written alike in every session.
const serverQuery = `SELECT pg_catalog.concat_ws('/', pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), 'YYYYMMDDHH24MISSUS'),` +
	` d.oid) FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()`

// survey asks the new connection what the session has to know, and takes it from pgconn.
func (p *Protocol) survey(ctx context.Context, t *target, rules *wire.Rules, conn *pgconn.PgConn, config *pgconn.Config) (_ *upstream, err error) {
	switch major := majorVersion(conn.ParameterStatus("server_version")); {
	case major == 0:
		return nil, refuse("0A000", fmt.Sprintf("target %s does not say which PostgreSQL it runs, so that nobody knows what statements mean to it: %d is the newest that is understood", t.Name(), newestServer), "")
	case major > newestServer:
		return nil, refuse("0A000", fmt.Sprintf("target %s runs PostgreSQL %d, whose statements may mean more than is understood: %d is the newest", t.Name(), major, newestServer), "")
	}
	results, err := conn.Exec(ctx, wire.PathQuery+"; "+serverQuery).ReadAll()
	if err != nil || len(results) != 2 || len(results[0].Rows) != 1 || len(results[1].Rows) != 1 {
		return nil, &Refusal{Code: "08006", Message: "asking target " + t.Name() + " for its search_path: " + fmt.Sprint(err), cause: err}
	}
	row := results[0].Rows[0]
	up := &upstream{rules: rules, user: config.User, path: wire.ParsePath(string(row[0])), role: string(row[1])}
	_, up.pathChosen = config.RuntimeParams["search_path"]
	database := catalogueKey{net.JoinHostPort(t.host, strconv.Itoa(int(t.Port()))), config.Database, config.User, string(results[1].Rows[0][0])}
	up.shared, up.forget = p.shared(database)
	defer func() {
		if err != nil {
			up.forget()
		}
	}()
	p.lookAtRole(ctx, t, conn, config.User)
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
	up.pid = taken.PID
	up.cancel = func(ctx context.Context) error { return t.cancel(ctx, config, taken.PID, taken.SecretKey) }
	if err := up.conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clearing the connection's deadline: %w", err)
	}
	return up, nil
}

// readCatalogue reads what is not known of the database's relations.
func readCatalogue(ctx context.Context, conn *pgconn.PgConn, shared *catalogue.Shared) error {
	epoch, outdated := shared.Outdated()
	if !outdated {
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
