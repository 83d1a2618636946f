package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// upstreamChecks are what happens on the side of the server while clients are connected. Each tells what the client
// saw, which has to be the same past the sidecar and through it.
var upstreamChecks = []struct {
	name string
	run  func(ctx context.Context, through bool) ([]string, error)
}{
	{"a server that crashes in a query and comes back", serverComesBack},
	{"a primary that is lost in a query and a standby that is promoted", failover},
	{"a client that looks for the primary among several hosts", severalHosts},
	{"several databases of one target", severalDatabases},
	{"a connection that is dropped in a query", droppedConnection},
	{"pgbouncer with a server connection for each session", pooler},
}

// upstreamLimit is how long one check has; seconds are what it takes.
const upstreamLimit = 3 * time.Minute

func runUpstreams(ctx context.Context, b *bench) (difference.Report, error) {
	out := make(difference.Report)
	for _, check := range upstreamChecks {
		if len(b.only) > 0 && !strings.Contains(strings.Join(b.only, ","), check.name) {
			continue
		}
		var saw [2]string
		for i, side := range []string{"direct", "sidecar"} {
			ctx, cancel := context.WithTimeout(ctx, upstreamLimit)
			what, err := check.run(ctx, side == "sidecar")
			cancel()
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", check.name, side, err)
			}
			saw[i] = strings.Join(what, "; ")
			say(side, check.name+": "+saw[i])
		}
		out[check.name] = difference.Result{Differs: saw[0] != saw[1]}
	}
	return out, nil
}

// notes gathers what a client sees.
type notes []string

// ask runs statements on a connection and notes the last result's rows, or the error's SQLSTATE.
func (n *notes) ask(ctx context.Context, conn *pgconn.PgConn, sql string) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	switch {
	case err != nil:
		*n = append(*n, state(err))
	case len(results) > 0:
		last := results[len(results)-1]
		*n = append(*n, fmt.Sprintf("%s %s", last.CommandTag, last.Rows))
	}
}

// state is an error's SQLSTATE, or that the connection broke.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return "broken"
}

// connect opens a session on a port of a road, in clear.
func connect(ctx context.Context, port int, database string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%s sslmode=disable connect_timeout=30", port, database))
}

// sleeping starts a statement that lasts longer than the check and waits until the server runs it; done gives how it
// ends, as the client sees it.
func sleeping(ctx context.Context, conn, watch *pgconn.PgConn) (done <-chan string, err error) {
	out := make(chan string, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(600)").ReadAll()
		if err == nil {
			out <- "it ended by itself"
		} else {
			out <- "the query in between ends: " + endOf(err, conn)
		}
	}()
	return out, until(ctx, watch, "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'")
}

// endOf is how a statement ended that lost its server: what the server said, and whether the connection is gone.
func endOf(err error, conn *pgconn.PgConn) string {
	return fmt.Sprintf("failed %t, connection closed %t", err != nil, conn.IsClosed())
}

// until waits for a query to give a row.
func until(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	for {
		results, err := conn.Exec(ctx, sql).ReadAll()
		if err != nil {
			return err
		}
		if len(results) > 0 && len(results[0].Rows) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", sql, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
