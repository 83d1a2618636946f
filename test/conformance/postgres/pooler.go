package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/pgbouncer"
)

// poolerConfig keeps each session on one server connection, which is reset between sessions.
const poolerConfig = `[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = session
server_reset_query = DISCARD ALL
`

// pooler puts pgbouncer between the road and the server.
func pooler(ctx context.Context, through bool) (saw []string, err error) {
	program, err := pgbouncer.Install()
	if err != nil {
		return nil, err
	}
	server, stop, err := startTrusting()
	if err != nil {
		return nil, err
	}
	defer stop()
	l, port, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil { // a port that was free a moment ago
		return nil, err
	}
	path, err := server.Put("pooler.ini", fmt.Appendf(nil, poolerConfig, server.Port, port))
	if err != nil {
		return nil, err
	}
	cmd := server.Command("pgbouncer", path) // for its user and folder
	cmd.Path, cmd.Args[0], cmd.Env, cmd.Err = program.Path, program.Path, program.Environment(), nil
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if err := listening(ctx, address); err != nil {
		return nil, err
	}
	road, err := open(ctx, through, target{hosts: []string{targetHost}, mode: policy.TLSDisable,
		dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, address) }})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	return pooled(ctx, road.ports[0])
}

// pooled uses the pooler in two sessions, one after the other.
func pooled(ctx context.Context, port int) ([]string, error) {
	var n notes
	for range 2 {
		conn, err := connect(ctx, port, "postgres")
		if err != nil {
			return nil, err
		}
		n.ask(ctx, conn, "SELECT current_database(), current_setting('search_path'), current_setting('statement_timeout')")
		n.ask(ctx, conn, "CREATE SCHEMA IF NOT EXISTS app; SET search_path = app; SET statement_timeout = '5min'")
		n.ask(ctx, conn, "CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)")
		n.ask(ctx, conn, "BEGIN; CREATE TEMP TABLE mine (n int); COMMIT")
		n.ask(ctx, conn, "SELECT count(*) FROM app.t")
		if _, err := conn.Prepare(ctx, "p", "SELECT n FROM t WHERE n = $1 LIMIT 1", nil); err != nil {
			return nil, err
		}
		n = append(n, fmt.Sprintf("%s", conn.ExecPrepared(ctx, "p", [][]byte{[]byte("1")}, nil, nil).Read().Rows))
		var copied strings.Builder
		tag, err := conn.CopyTo(ctx, &copied, "COPY (SELECT generate_series(1, 3)) TO STDOUT")
		if err != nil {
			return nil, err
		}
		n = append(n, tag.String()+" "+copied.String())
		tag, err = conn.CopyFrom(ctx, strings.NewReader("7\n8\n"), "COPY t FROM STDIN")
		if err != nil {
			return nil, err
		}
		n = append(n, tag.String())
		if err := cancelled(ctx, conn, port, &n); err != nil {
			return nil, err
		}
		n.ask(ctx, conn, "SELECT 'goes on'")
		if err := conn.Close(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// cancelled cancels a statement once it runs, with the key that the session was given.
func cancelled(ctx context.Context, conn *pgconn.PgConn, port int, n *notes) error {
	watch, err := connect(ctx, port, "postgres")
	if err != nil {
		return err
	}
	defer watch.Close(ctx)
	ended := make(chan string, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(600)").ReadAll()
		ended <- "cancelled: " + state(err)
	}()
	if err := until(ctx, watch, "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'"); err != nil {
		return err
	}
	if err := conn.CancelRequest(ctx); err != nil {
		return err
	}
	*n = append(*n, <-ended)
	return nil
}
