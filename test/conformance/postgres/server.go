package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// The unprivileged user that the server runs as where the tests run as root: Debian's nobody.
const nobodyID = 65534

// give makes everything in a folder the server's.
func give(folder string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobodyID, nobodyID)
	})
}

// trusting lets whoever asks in as whom they say, but for those whose names say how they have to prove it: the
// suites change users, and the sidecar adds nothing to that.
const trusting = `local all all trust
host all all all trust
host replication all all trust
`

// asking is put before trusting where the server itself asks for askedPassword: past the sidecar.
const asking = "host all " + askedRole + " all scram-sha-256\n"

// side is one way to a server: past the sidecar, or through it.
type side struct {
	name   string
	server *postgresserver.Server
	*sidecar
	port int
}

// both runs f with a fresh server, first directly and then through the sidecar.
func (b *bench) both(f func(*side) error, settings ...string) error {
	for _, name := range []string{"direct", "sidecar"} {
		err := b.with(name, f, settings)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) with(name string, f func(*side) error, settings []string) error {
	hba := filepath.Join(b.folder, "pg_hba.conf")
	rules := trusting
	if name == "direct" {
		rules = asking + trusting
	}
	if err := os.WriteFile(hba, []byte(rules), 0o644); err != nil {
		return err
	}
	if err := give(b.folder); err != nil {
		return err
	}
	server, err := postgresserver.Start(append([]string{"hba_file=" + hba}, settings...)...)
	if err != nil {
		return err
	}
	at := &side{name: name, server: server, port: server.Port}
	if name == "sidecar" {
		if at.sidecar, err = startSidecar(server); err != nil {
			return errors.Join(err, server.Stop())
		}
		at.port = at.sidecar.port
	}
	err = f(at)
	if at.sidecar != nil {
		err = errors.Join(err, at.Close())
	}
	return errors.Join(err, server.Stop())
}

// execute runs statements at the server, past the sidecar.
func (s *side) execute(ctx context.Context, database string, statements ...string) error {
	conn, err := pgconn.Connect(ctx, s.server.DSN(postgresserver.Superuser, "", database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// database makes a database as pg_regress does (pg_regress.c, create_database).
func (s *side) database(ctx context.Context, name string) error {
	statements := []string{fmt.Sprintf(`CREATE DATABASE "%s" TEMPLATE=template0`, name)}
	for _, setting := range []string{
		"lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'",
		"timezone_abbreviations TO 'Default'",
	} {
		statements = append(statements, fmt.Sprintf(`ALTER DATABASE "%s" SET %s`, name, setting))
	}
	return s.execute(ctx, "postgres", statements...)
}

// command prepares a program to run as the server's user, with a clean environment.
func (s *side) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(s.server.Environment(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(s.port), "PGUSER="+postgresserver.Superuser)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobodyID, Gid: nobodyID}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// needed are the parts of the server's source that others link with.
var needed = []string{"src/port", "src/common", "src/interfaces/libpq"}

// built compiles a part of the server's source, and first what every part needs.
func (b *bench) built(ctx context.Context, part string) (folder string, err error) {
	source, err := b.installation.Source()
	if err != nil {
		return "", fmt.Errorf("getting the source of PostgreSQL: %w", err)
	}
	for _, p := range append(slices.Clone(needed), part) {
		folder = filepath.Join(source, p)
		out, err := exec.CommandContext(ctx, "make", "-s", "-C", folder, "all").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("building %s: %w: %s", p, err, strings.TrimSpace(string(out)))
		}
	}
	return folder, nil
}
