package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
	"github.com/chaperone-dev/chaperone/test/postgressidecar"
)

// TestRole logs in as roles of different powers, of the oldest and the newest server, and wants them reported.
func TestRole(t *testing.T) {
	postgresserver.Each(t, func(t *testing.T, server *postgresserver.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		admin, err := pgconn.Connect(ctx, server.DSN(postgresserver.Superuser, server.Password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close(ctx)
		must := func(sql string) {
			t.Helper()
			if _, err := admin.Exec(ctx, sql).ReadAll(); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		var creator []string
		if server.Major < 16 {
			creator = []string{"CREATEROLE"}
		}
		// What an unqualified name in the question could be made to mean.
		must("CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC; CREATE VIEW trap.pg_roles AS SELECT 'none' AS rolname; CREATE FUNCTION trap.same(name, name) RETURNS bool RETURN false")
		must("CREATE OPERATOR trap.= (leftarg = name, rightarg = name, function = trap.same)")
		tests := map[string]struct {
			make string // what makes role %s
			want []string
		}{
			"a role of the usual kind":               {"CREATE ROLE %s LOGIN PASSWORD 'x'", nil},
			"a superuser":                            {"CREATE ROLE %s LOGIN PASSWORD 'x' SUPERUSER", []string{"SUPERUSER"}},
			"one that may replicate":                 {"CREATE ROLE %s LOGIN PASSWORD 'x' REPLICATION", []string{"REPLICATION"}},
			"one that sees past row security":        {"CREATE ROLE %s LOGIN PASSWORD 'x' BYPASSRLS", []string{"BYPASSRLS"}},
			"one that makes roles":                   {"CREATE ROLE %s LOGIN PASSWORD 'x' CREATEROLE", creator},
			"one that runs programs":                 {"CREATE ROLE %s LOGIN PASSWORD 'x' IN ROLE pg_execute_server_program", []string{"pg_execute_server_program"}},
			"one that reads and writes files":        {"CREATE ROLE %s LOGIN PASSWORD 'x' IN ROLE pg_write_server_files, pg_read_server_files", []string{"pg_read_server_files", "pg_write_server_files"}},
			"one that has it by another":             {"CREATE ROLE %[1]s_group IN ROLE pg_read_server_files; CREATE ROLE %[1]s LOGIN PASSWORD 'x' IN ROLE %[1]s_group", []string{"pg_read_server_files"}},
			"one that would have to take it":         {"CREATE ROLE %[1]s_group NOINHERIT IN ROLE pg_read_server_files; CREATE ROLE %[1]s LOGIN PASSWORD 'x' NOINHERIT IN ROLE %[1]s_group", []string{"pg_read_server_files"}},
			"one whose names are looked for in ours": {"CREATE ROLE %[1]s LOGIN PASSWORD 'x' SUPERUSER; ALTER ROLE %[1]s SET search_path = trap, pg_catalog", []string{"SUPERUSER"}},
		}
		n := 0
		for name, tc := range tests {
			n++
			role := fmt.Sprintf("role_%d", n)
			t.Run(name, func(t *testing.T) {
				must(fmt.Sprintf(tc.make, role))
				pg := allowAll()
				pg.CAPEM = server.Authority.PEM
				s := newSidecar(t, pg)
				s.dial(server.Address())
				s.lease.Store(&session.Lease{Username: role, Password: "x"})
				var mu sync.Mutex
				var got []session.Role
				s.opts.Role = func(r session.Role) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, r)
				}
				for range 2 { // the second is not looked at again
					conn, err := pgconn.Connect(ctx, s.DSN("postgres"))
					if err != nil {
						t.Fatal(err)
					}
					conn.Close(ctx)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(got) != 1 {
					t.Fatalf("reported %d times: %+v", len(got), got)
				}
				r := got[0]
				if r.Policy != postgressidecar.Policy || r.Target != postgressidecar.Target || r.Name != role || !slices.Equal(r.Powers, tc.want) {
					t.Errorf("got %+v, want powers %v", r, tc.want)
				}
			})
		}
	})
}
