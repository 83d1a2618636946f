package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// startTrusting starts a server that lets everybody in.
func startTrusting(settings ...string) (*postgresserver.Server, func(), error) {
	folder, err := os.MkdirTemp("", "chaperone-hba-")
	if err != nil {
		return nil, nil, err
	}
	hba := filepath.Join(folder, "pg_hba.conf")
	if err := errors.Join(os.WriteFile(hba, []byte(trusting), 0o644), os.Chmod(folder, 0o755)); err != nil {
		return nil, nil, err
	}
	s, err := postgresserver.Start(append([]string{"hba_file=" + hba}, settings...)...)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, func() {
		_ = s.Stop()
		_ = os.RemoveAll(folder)
	}, nil
}

// at is a target of one host that is wherever address says.
func at(root []byte, address func() string) target {
	return target{hosts: []string{targetHost}, mode: policy.TLSVerifyFull, root: root,
		dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, address()) }}
}

func serverComesBack(ctx context.Context, through bool) (saw []string, err error) {
	server, stop, err := startTrusting()
	if err != nil {
		return nil, err
	}
	defer stop()
	road, err := open(ctx, through, at(server.Authority.PEM, server.Address))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	var n notes
	conn, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	n.ask(ctx, conn, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	watch, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	done, err := sleeping(ctx, conn, watch)
	if err != nil {
		return nil, err
	}
	server.Down()
	n = append(n, <-done)
	if _, err := connect(ctx, road.ports[0], "postgres"); err == nil {
		return nil, errors.New("a client connected to a server that is down")
	}
	if err := server.Up(); err != nil {
		return nil, err
	}
	again, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	n.ask(ctx, again, "SELECT count(*) FROM kept")
	return n, again.Close(ctx)
}

// pair is a primary with a standby that follows it.
type pair struct{ primary, standby *postgresserver.Server }

func startPair(ctx context.Context) (p *pair, stop func(), err error) {
	p = &pair{}
	stops := []func(){}
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	for _, s := range []**postgresserver.Server{&p.primary, &p.standby} {
		var end func()
		if *s, end, err = startTrusting(); err != nil {
			stop()
			return nil, nil, err
		}
		stops = append(stops, end)
	}
	p.standby.Down()
	marker, err := p.standby.Put("standby", nil)
	if err != nil {
		stop()
		return nil, nil, err
	}
	data := filepath.Join(filepath.Dir(marker), "data")
	if err = os.RemoveAll(data); err == nil {
		var out []byte
		out, err = p.standby.Command("pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", fmt.Sprint(p.primary.Port), "-U", "postgres").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("pg_basebackup: %w: %s", err, out)
		}
	}
	if err == nil {
		p.standby.Password = p.primary.Password // the roles are the primary's
		err = p.standby.Up()
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

// promote makes the standby the primary, once it has what the primary has.
func (p *pair) promote(ctx context.Context) error {
	conn, err := connect(ctx, p.standby.Port, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT pg_promote(true, 60)").ReadAll(); err != nil {
		return err
	}
	return until(ctx, conn, "SELECT 1 WHERE NOT pg_is_in_recovery()")
}

// followed waits until the standby has what the primary has.
func (p *pair) followed(ctx context.Context) error {
	conn, err := connect(ctx, p.primary.Port, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return until(ctx, conn, "SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()")
}

// roots are the certificates of both.
func (p *pair) roots() []byte {
	return append(append([]byte{}, p.primary.Authority.PEM...), p.standby.Authority.PEM...)
}

func failover(ctx context.Context, through bool) (saw []string, err error) {
	p, stop, err := startPair(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var address atomic.Value
	address.Store(p.primary.Address())
	road, err := open(ctx, through, at(p.roots(), func() string { return address.Load().(string) }))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	var n notes
	conn, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	n.ask(ctx, conn, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	idle, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	if err := p.followed(ctx); err != nil {
		return nil, err
	}
	done, err := sleeping(ctx, conn, idle)
	if err != nil {
		return nil, err
	}
	p.primary.Down()
	address.Store(p.standby.Address())
	n = append(n, <-done)
	_, idleErr := idle.Exec(ctx, "SELECT 1").ReadAll()
	n = append(n, "the session that was idle: "+endOf(idleErr, idle))
	// The standby answers, and does not write.
	reader, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	n = append(n, "in_hot_standby "+reader.ParameterStatus("in_hot_standby"))
	n.ask(ctx, reader, "SELECT n FROM kept")
	n.ask(ctx, reader, "INSERT INTO kept VALUES (2)")
	if err := p.promote(ctx); err != nil {
		return nil, err
	}
	// The session of before goes on and may write.
	n.ask(ctx, reader, "INSERT INTO kept VALUES (2)")
	n.ask(ctx, reader, "SELECT count(*) FROM kept")
	n = append(n, "in_hot_standby "+reader.ParameterStatus("in_hot_standby"))
	return n, reader.Close(ctx)
}

func severalHosts(ctx context.Context, through bool) (saw []string, err error) {
	p, stop, err := startPair(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	// Certificates prove localhost and db.test: two names of one target.
	addresses := map[string]string{"localhost": p.standby.Address(), targetHost: p.primary.Address()}
	road, err := open(ctx, through, target{hosts: []string{"localhost", targetHost}, mode: policy.TLSVerifyFull, root: p.roots(),
		dial: func(ctx context.Context, host string) (net.Conn, error) { return dial(ctx, addresses[host]) }})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	var n notes
	for _, attributes := range []string{"any", "read-write", "primary", "standby", "prefer-standby", "read-only"} {
		conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=postgres dbname=postgres sslmode=disable target_session_attrs=%s",
			road.ports[0], road.ports[1], attributes))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", attributes, err)
		}
		n = append(n, attributes)
		n.ask(ctx, conn, "SELECT pg_is_in_recovery()")
		if err := conn.Close(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func severalDatabases(ctx context.Context, through bool) (saw []string, err error) {
	server, stop, err := startTrusting()
	if err != nil {
		return nil, err
	}
	defer stop()
	road, err := open(ctx, through, target{hosts: []string{"localhost", targetHost}, mode: policy.TLSVerifyFull, root: server.Authority.PEM,
		dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, server.Address()) }})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	var n notes
	first, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"one", "two"} {
		n.ask(ctx, first, "CREATE DATABASE "+name)
	}
	var conns []*pgconn.PgConn
	for i, name := range []string{"one", "two", "one", "two"} {
		conn, err := connect(ctx, road.ports[i%2], name)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		n.ask(ctx, conn, "CREATE TABLE IF NOT EXISTS of_"+name+" (n int)")
	}
	// The same names mean each database's own, whichever was asked before.
	for _, conn := range conns {
		n.ask(ctx, conn, "SELECT current_database()")
		n.ask(ctx, conn, "SELECT count(*) FROM of_one")
		n.ask(ctx, conn, "SELECT count(*) FROM of_two")
	}
	if _, err := connect(ctx, road.ports[0], "three"); err != nil {
		n = append(n, "a database that there is not: "+state(err))
	}
	for _, conn := range append(conns, first) {
		if err := conn.Close(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func droppedConnection(ctx context.Context, through bool) (saw []string, err error) {
	server, stop, err := startTrusting()
	if err != nil {
		return nil, err
	}
	defer stop()
	// The network in between is a relay: what it holds is a connection's end as neither side's program has it.
	var last atomic.Pointer[net.Conn]
	t := at(server.Authority.PEM, server.Address)
	network, err := open(ctx, false, target{hosts: t.hosts, dial: func(ctx context.Context, host string) (net.Conn, error) {
		conn, err := t.dial(ctx, host)
		if err == nil {
			last.Store(&conn)
		}
		return conn, err
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, network.close()) }()
	road, err := open(ctx, through, at(server.Authority.PEM, func() string { return fmt.Sprintf("127.0.0.1:%d", network.ports[0]) }))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, road.close()) }()
	watch, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	victim := *last.Load()
	done, err := sleeping(ctx, conn, watch)
	if err != nil {
		return nil, err
	}
	var n notes
	if err := victim.Close(); err != nil { // a network that lost it
		return nil, err
	}
	n = append(n, <-done)
	n.ask(ctx, watch, "SELECT 'others go on'")
	// The client leaves in a query: the server's session has to go as well.
	leaver, err := connect(ctx, road.ports[0], "postgres")
	if err != nil {
		return nil, err
	}
	if _, err := leaver.Exec(ctx, "SET client_connection_check_interval = 100").ReadAll(); err != nil {
		return nil, err
	}
	if _, err := sleeping(ctx, leaver, watch); err != nil {
		return nil, err
	}
	if err := leaver.Conn().Close(); err != nil {
		return nil, err
	}
	gone, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const left = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND pid <> pg_backend_pid() AND client_port IS NOT NULL AND pid = %d)"
	if err := until(gone, watch, fmt.Sprintf(left, leaver.PID())); err != nil {
		return nil, fmt.Errorf("the session of a client that left: %w", err)
	}
	return append(n, "the session of a client that left is gone"), nil
}
