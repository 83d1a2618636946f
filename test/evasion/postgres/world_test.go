package postgres

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

//go:embed schema.sql
var schema string

// world is a server with two databases that differ in protected values alone.
type world struct {
	t      *testing.T // the whole test's: connections outlive a case
	server *postgresserver.Server
	admin  *pgconn.PgConn
	sides  [2]*side
	rules  map[string]*front
}

// side is one of the two databases.
type side struct {
	database string
	secrets  *secrets
	judge    *pgconn.PgConn // past the sidecar
	state    string         // what it held at first
}

// database names have the same length, and are replaced where what was received is compared.
var databases = [2]string{"evasion_one", "evasion_two"}

// protectedValues are those of the two databases, in the order of schema.sql's update: they differ in every character,
// in length and in order.
var protectedValues = [2][]string{
	{"Zq7VxpK3dWJrTmXw", "48213977", "73195.84", "1987-03-29", "7b1d9c3e-52fa-4e86-91c7-0a6e8d2f4b15", "Kx9vQzJwYp", "vXq3Zk8Jw", "jZ5xKq7V"},
	{"gYh5NfBs", "5", "12.5", "2004-11-02", "e6a04f17-8c2b-4d95-b3e8-f19d7c5a2064", "hGfYbN", "yHg4fB", "bYf"},
}

// newWorld fills a server.
func newWorld(t *testing.T, s *postgresserver.Server) *world {
	t.Helper()
	w := &world{t: t, server: s, rules: make(map[string]*front)}
	w.admin = w.connect(t, "postgres")
	w.must(t, w.admin, "CREATE ROLE "+postgresserver.RoleTrust+" SUPERUSER LOGIN; CREATE ROLE pii NOLOGIN; CREATE ROLE bystander NOLOGIN")
	w.must(t, w.admin, "CREATE DATABASE evasion_template")
	template := w.connect(t, "evasion_template")
	w.must(t, template, schema)
	if s.Major >= 18 {
		w.must(t, template, "ALTER TABLE customers ADD doubled int GENERATED ALWAYS AS (id * 2) VIRTUAL")
	}
	template.Close(context.Background())
	for i := range w.sides {
		w.sides[i] = &side{database: databases[i], secrets: newSecrets(protectedValues[i])}
		w.build(t, i)
	}
	return w
}

// build makes a side anew.
func (w *world) build(t *testing.T, i int) {
	t.Helper()
	s := w.sides[i]
	if s.judge != nil {
		s.judge.Close(context.Background())
	}
	w.must(t, w.admin, "DROP DATABASE IF EXISTS "+s.database+" WITH (FORCE)")
	w.must(t, w.admin, "CREATE DATABASE "+s.database+" TEMPLATE evasion_template STRATEGY FILE_COPY")
	s.judge = w.connect(t, s.database)
	v := protectedValues[i]
	w.must(t, s.judge, fmt.Sprintf(`SET session_replication_role = replica;
UPDATE customers SET card_number = '%[1]s', pin = %[2]s, balance = %[3]s, born = '%[4]s', token = '%[5]s', photo = '%[6]s', profile = '{"k": "%[7]s"}', tags = '{%[8]s,x}' WHERE id = 1;
UPDATE customers SET card_number = '%[9]s' || '%[1]s' WHERE id = 2;
UPDATE kid SET card_number = '%[1]s';
UPDATE pii.people SET ssn = '%[1]s', note = '%[7]s';
UPDATE public.people SET ssn = 'none';
REFRESH MATERIALIZED VIEW customer_copies; ANALYZE;
RESET session_replication_role`, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], [2]string{"B", "z"}[i]))
	s.state = w.snapshot(t, s.judge)
}

// connect connects past the sidecar, as a role that may do anything.
func (w *world) connect(t *testing.T, database string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, w.server.DSN(postgresserver.Superuser, w.server.Password, database))
	if err != nil {
		t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (w *world) must(t *testing.T, conn *pgconn.PgConn, sql string) [][][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", cut(sql, 200), err)
	}
	return results[len(results)-1].Rows
}

//go:embed state.sql
var stateQuery string

// snapshot is everything that the database and its server hold, a line each.
func (w *world) snapshot(t *testing.T, conn *pgconn.PgConn) string {
	t.Helper()
	rows := w.must(t, conn, stateQuery)
	var b strings.Builder
	for _, r := range rows {
		b.Write(bytes.ReplaceAll(r[0], []byte("\n"), []byte(" ")))
		b.WriteByte('\n')
	}
	return b.String()
}

// changes are the lines of the state that are not as they were.
func changes(before, after string) []string {
	seen := make(map[string]bool)
	for line := range strings.Lines(before) {
		seen[line] = true
	}
	var out []string
	for line := range strings.Lines(after) {
		if !seen[line] {
			out = append(out, "now: "+strings.TrimSpace(line))
		}
		delete(seen, line)
	}
	for line := range seen {
		out = append(out, "gone: "+strings.TrimSpace(line))
	}
	return out
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
