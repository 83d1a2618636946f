package postgres

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// roleAge is how long what was found of a role is taken to hold.
const roleAge = 5 * time.Minute

// roleQuery asks for what the role may do beside reading and changing data, under a search_path that nobody could put
// anything into. Before PostgreSQL 16 CREATEROLE gives itself any role that is none of a superuser's.
const roleQuery = `SELECT pg_catalog.set_config('search_path', '', true);
SELECT pg_catalog.concat_ws(',',
  CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
  CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
  CASE WHEN r.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000 THEN 'CREATEROLE' END,
  (SELECT pg_catalog.string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_catalog.pg_roles g
    WHERE g.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
      AND NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')))
  FROM pg_catalog.pg_roles r WHERE r.rolname = session_user`

// lookAtRole reports what the leased credential is in the server, where that has not been looked at lately. A server
// that cannot say is no reason to refuse anybody.
func (p *Protocol) lookAtRole(ctx context.Context, t *target, conn *pgconn.PgConn, user string) {
	if p.opts.Role == nil || !t.settings.HasLease {
		return
	}
	key := catalogueKey{address: net.JoinHostPort(t.host, strconv.Itoa(int(t.Port()))), user: user}
	p.mu.Lock()
	now := time.Now()
	due := now.Sub(p.roles[key]) > roleAge
	if due {
		p.roles[key] = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	results, err := conn.Exec(ctx, roleQuery).ReadAll()
	if err != nil || len(results) != 2 || len(results[1].Rows) != 1 {
		return
	}
	role := session.Role{Policy: t.settings.Lease.Policy, Target: t.settings.Lease.Target, Name: user}
	if powers := string(results[1].Rows[0][0]); powers != "" {
		role.Powers = strings.Split(powers, ",")
	}
	p.opts.Role(role)
}
