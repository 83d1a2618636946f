package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/postgres/wiring"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

const (
	user = "agent"
	// waiting bounds how long a proxy may take to answer after it was started; a second peer is started by hand.
	waiting     = 30 * time.Second
	waitingPeer = 10 * time.Minute
)

// peer is a way to the database.
type peer struct {
	name    string
	port    int
	process *process.Process // nil where it is not ours to measure
}

// lab is the database and all ways to it.
type lab struct {
	server         *postgresserver.Server
	operator       *operator
	bouncer        *bouncer
	bouncerVersion string
	password       string
	files          map[string]string // certificate, key and root, readable by the server's user
	folder         string
	program        string // the sidecar's
	second         string // name of the second peer, if there is one
	plain, secure  []*peer
}

func newLab(ctx context.Context, o *options) (l *lab, err error) {
	l = &lab{files: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.server, err = postgresserver.Start("shared_buffers=512MB", "max_wal_size=4GB"); err != nil {
		return l, err
	}
	if l.folder, err = os.MkdirTemp("", "chaperone-bench-"); err != nil {
		return l, err
	}
	l.program = filepath.Join(l.folder, "sidecar")
	if err := measured.Build(ctx, "github.com/chaperone-dev/chaperone/test/bench/postgres/sidecar", l.program); err != nil {
		return l, err
	}
	if l.operator, err = newOperator(); err != nil {
		return l, err
	}
	if l.bouncer, err = installBouncer(); err != nil {
		return l, err
	}
	l.bouncerVersion = l.bouncer.version()
	if err := l.populate(ctx); err != nil {
		return l, err
	}
	certificate, key, err := l.server.Authority.Issue("db.test", postgresserver.Hosts...)
	if err != nil {
		return l, err
	}
	for name, content := range map[string][]byte{"certificate": certificate, "key": key, "root": l.server.Authority.PEM} {
		if l.files[name], err = l.server.Put("bench-"+name, content); err != nil {
			return l, err
		}
	}
	for _, secure := range []bool{false, true} {
		bouncer, err := l.startBouncer(secure)
		if err != nil {
			return l, err
		}
		to := &l.plain
		if secure {
			to = &l.secure
		}
		*to = append(*to, &peer{name: "direct", port: l.server.Port}, bouncer)
		profile := o.Profile
		if secure && profile != "" {
			profile += ".tls"
		}
		driver := postgres.EventLoop
		if o.goroutines {
			driver = postgres.Goroutines
		}
		side, err := l.startSidecar(ctx, secure, certificate, key, profile, driver)
		if err != nil {
			return l, err
		}
		*to = append(*to, side)
	}
	if o.second != "" {
		if err := l.addSecond(o.second); err != nil {
			return l, err
		}
	}
	for _, secure := range []bool{false, true} {
		for _, p := range l.peers(secure) {
			if err := l.await(ctx, p, secure); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// addSecond adds the peer of the flag.
func (l *lab) addSecond(flag string) error {
	name, text, ok := strings.Cut(flag, "=")
	port, err := strconv.Atoi(text)
	if !ok || err != nil {
		return fmt.Errorf("-peer %q is not NAME=PORT", flag)
	}
	l.second = name
	l.plain = append(l.plain, &peer{name: name, port: port})
	l.secure = append(l.secure, &peer{name: name, port: port})
	fmt.Fprintf(os.Stderr, "PostgreSQL listens on 127.0.0.1 port %d, database app, user %s, password %s; waiting for %s on port %d\n",
		l.server.Port, user, l.password, name, port)
	return nil
}

// populate makes the role, the database and what the cases read.
func (l *lab) populate(ctx context.Context) error {
	l.password = l.server.Password
	for _, step := range []struct{ database, sql string }{
		{"postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; CREATE DATABASE app OWNER %[1]s", user, l.password)},
	} {
		for _, statement := range strings.Split(step.sql, "; ") {
			if err := l.execute(ctx, l.server.DSN(postgresserver.Superuser, l.server.Password, step.database), statement); err != nil {
				return err
			}
		}
	}
	dsn := l.server.DSN(user, l.password, "app")
	if out, err := l.server.Command("pgbench", "-i", "-q", "-s", "1", dsn).CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, out)
	}
	for _, statement := range strings.Split(strings.TrimSuffix(schema, ";"), ";\n") {
		if err := l.execute(ctx, dsn, statement); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) execute(ctx context.Context, dsn, sql string) error {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// rules are the whole policy, in the form of the samples.
func (l *lab) rules(secure bool) policy.Postgres {
	unfiltered := true
	pg := policy.Postgres{
		TLSMode: policy.TLSDisable, HasCredentials: true, CredentialsID: "bench/database", DefaultAction: policy.Deny,
		Rules: []policy.Rule{
			{Name: "no-schema-change", Match: policy.Match{Commands: []string{"DROP", "TRUNCATE", "ALTER", "CREATE"}}, Action: policy.Deny},
			{Name: "unfiltered-writes", Match: policy.Match{Commands: []string{"UPDATE", "DELETE"}, Unfiltered: &unfiltered}, Action: policy.RequireApproval,
				Approval: &policy.Approval{Required: 1, TimeoutSeconds: 60, WaitSeconds: 60, InTransaction: "Refuse", Scope: "Pod"}},
			{Name: "reads", Match: policy.Match{Commands: []string{"SELECT", "COPY"}, Tables: []string{"public.*", "pg_catalog.*"}}, Action: policy.Allow},
			{Name: "writes", Match: policy.Match{Commands: []string{"INSERT", "UPDATE", "DELETE"}, Tables: []string{"public.*"}}, Action: policy.Allow},
		},
		Masking: []policy.Masking{
			{Columns: []string{"public.customers.card_number"}, Method: policy.MaskPartial},
			{Detectors: []string{"CreditCard", "Email"}},
		},
		Limits: policy.Limits{Rows: 1 << 30, Bytes: 1 << 40, StatementTimeoutMS: 600_000},
	}
	if secure {
		pg.TLSMode, pg.CAPEM = policy.TLSVerifyFull, l.server.Authority.PEM
	}
	return pg
}

// startSidecar runs the sidecar's PostgreSQL path, in a program of its own, with the memory limit that injected pods get.
func (l *lab) startSidecar(ctx context.Context, secure bool, certificate, key []byte, profile string, driver postgres.Driver) (*peer, error) {
	pg := l.rules(secure)
	folder, err := os.MkdirTemp(l.folder, "sidecar-")
	if err != nil {
		return nil, err
	}
	p, at, err := measured.Start(ctx, l.program, wiring.Wiring{
		Policy: policy.Policy{
			Namespace: "bench", Name: "bench", Generation: 1, Enforcement: policy.Enforce, Egress: policy.Egress{Unmatched: policy.Deny},
			Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
			Targets:   []policy.Target{{Name: "app", Hosts: []string{"db.test"}, Port: 5432, Postgres: &pg}},
		},
		Upstream: l.server.Address(), User: user, Password: l.password, Certificate: certificate, Key: key,
		Broker: l.operator.address, BrokerRoot: l.operator.root, Folder: folder, Profile: profile, Driver: driver,
	})
	if err != nil {
		return nil, err
	}
	return &peer{name: "sidecar", port: int(at.Port()), process: p}, nil
}

func (l *lab) peers(secure bool) []*peer {
	if secure {
		return l.secure
	}
	return l.plain
}

func (l *lab) dsn(p *peer, secure bool) string {
	mode := "disable"
	if secure {
		mode = "require"
	}
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' dbname=app sslmode=%s", p.port, user, l.password, mode)
}

// await waits until a peer serves.
func (l *lab) await(ctx context.Context, p *peer, secure bool) error {
	limit := waiting
	if p.name == l.second {
		limit = waitingPeer
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := l.execute(ctx, l.dsn(p, secure), "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			said := ""
			if p.process != nil {
				said = p.process.Errors()
			}
			return fmt.Errorf("%s does not serve: %w %s", p.name, err, said)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *lab) close() error {
	for _, p := range append(l.plain, l.secure...) {
		if p.process != nil {
			p.process.End(syscall.SIGTERM)
		}
	}
	if l.operator != nil {
		l.operator.server.Stop()
	}
	var failures []error
	if l.server != nil {
		failures = append(failures, l.server.Stop())
	}
	if l.folder != "" {
		failures = append(failures, os.RemoveAll(filepath.Clean(l.folder)))
	}
	return errors.Join(failures...)
}

// freePort takes a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
