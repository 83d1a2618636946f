package postgres

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// TestSecretColumns asks for password hashes in every way that names the relation which holds them, as a superuser: who
// reads something else of it is let through, and who could be reading them is not.
func TestSecretColumns(t *testing.T) {
	postgresserver.Each(t, func(t *testing.T, own *postgresserver.Server) {
		pg := allowAll()
		pg.CAPEM = own.Authority.PEM
		s := newSidecar(t, pg)
		s.dial(own.Address())
		s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: own.Password})
		conn := s.connect(t, "dbname=postgres")
		for _, sql := range []string{
			"SELECT rolname FROM pg_authid ORDER BY 1 LIMIT 1",
			"SELECT a.rolname, count(*) FROM pg_catalog.pg_authid AS a JOIN pg_database d ON d.datdba = a.oid WHERE a.rolsuper GROUP BY a.rolname",
			"SELECT usename FROM pg_shadow WHERE usesysid IN (SELECT oid FROM pg_authid)",
			"WITH r AS (SELECT oid, rolname FROM pg_authid) SELECT rolname FROM r JOIN pg_authid b USING (oid, rolname)",
			"SELECT EXISTS (SELECT 1 FROM pg_authid)",
			"SELECT count(*) FROM pg_authid",
			"SELECT subname FROM pg_subscription",
			"SELECT srvname, usename FROM pg_user_mappings",
		} {
			if _, err := query(conn, sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
		attacks := []string{
			"SELECT rolpassword FROM pg_authid", "SELECT passwd FROM pg_shadow", "SELECT a.rolpassword FROM pg_authid a",
			"SELECT * FROM pg_authid", "TABLE pg_authid", "SELECT a.* FROM pg_authid a", "SELECT pg_authid.* FROM pg_authid",
			"SELECT a FROM pg_authid a", "SELECT pg_authid FROM pg_authid", "SELECT a::text FROM pg_authid a", "SELECT (a).rolpassword FROM pg_authid a",
			"SELECT rolpassword(a) FROM pg_authid a", "SELECT row_to_json(a) FROM pg_authid a", "SELECT (a).* FROM pg_authid a",
			"SELECT to_jsonb(pg_authid) FROM pg_catalog.pg_authid", "SELECT pg_catalog.pg_authid FROM pg_catalog.pg_authid",
			"SELECT k FROM pg_authid AS a(a, b, c, d, e, f, g, h, i, j, k)", "SELECT k FROM pg_authid AS x(o, a, b, c, d, e, f, g, h, i, j, k)",
			"SELECT c10 FROM (pg_authid JOIN pg_database ON true) AS j(c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11)",
			"SELECT j FROM (pg_authid a JOIN pg_database d ON true) AS j", "SELECT j.* FROM (pg_authid a JOIN pg_database d ON true) AS j",
			"SELECT s FROM (SELECT a FROM pg_authid a) s", "SELECT v.column1 FROM pg_authid a, LATERAL (VALUES (a)) v",
			"SELECT x FROM pg_authid a, unnest(ARRAY[a]) x", "SELECT p.rolpassword FROM pg_authid a, unnest(ARRAY[a]) p",
			"SELECT rolname FROM pg_authid a NATURAL JOIN (SELECT rolpassword FROM pg_authid) b", "SELECT 1 FROM pg_authid a JOIN pg_authid b USING (rolpassword)",
			"SELECT rolname FROM pg_authid ORDER BY rolpassword", "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM%'",
			"SELECT count(DISTINCT rolpassword) FROM pg_authid", "SELECT max(rolpassword) OVER () FROM pg_authid",
			`SELECT "rolpassword" FROM "pg_authid"`, `SELECT U&"rol\0070assword" FROM pg_authid`, "SELECT ROLPASSWORD FROM PG_AUTHID",
			"SELECT rolname FROM pg_authid UNION SELECT rolpassword FROM pg_authid", "WITH w AS (TABLE pg_authid) SELECT rolname FROM w",
			"SELECT rolname, (SELECT rolpassword FROM pg_shadow, pg_authid LIMIT 1) FROM pg_authid", "EXPLAIN ANALYZE SELECT rolpassword FROM pg_authid",
			"COPY pg_authid TO STDOUT", "COPY (SELECT rolpassword FROM pg_authid) TO STDOUT", "SELECT rolname INTO stolen FROM pg_authid",
			"CREATE TABLE stolen AS SELECT rolname FROM pg_authid", "CREATE VIEW stolen AS SELECT rolpassword FROM pg_authid",
			"DECLARE c CURSOR WITH HOLD FOR SELECT rolpassword FROM pg_authid", "PREPARE p AS SELECT rolpassword FROM pg_authid",
			"WITH w AS (INSERT INTO pg_temp.stolen SELECT rolname FROM pg_authid RETURNING 1) SELECT 1 FROM w",
			"SELECT * FROM information_schema.user_mapping_options", "SELECT subconninfo FROM pg_subscription", "SELECT umoptions FROM pg_user_mapping",
			"SELECT xmlelement(name x, a) FROM pg_authid a", "SELECT json_build_object('a', a) FROM pg_authid a", "SELECT ARRAY(SELECT a FROM pg_authid a)",
			"SELECT array_agg(a) FROM pg_authid a", "SELECT a = a, a FROM pg_authid a", "SELECT t.rolname FROM pg_authid AS t WHERE t IS NOT NULL AND t::text > ''",
			"SELECT string_agg(q.c, '') FROM pg_authid a CROSS JOIN LATERAL (SELECT a::text AS c) q",
			"SELECT rolname FROM pg_authid a WHERE pg_catalog.textin(pg_catalog.record_out(a)) > ''",
			"SELECT coalesce(a, a) FROM pg_authid AS a", "SELECT CASE WHEN true THEN a END FROM pg_authid a", "SELECT ROW(a) FROM pg_authid a", "SELECT (ROW(a.*)) FROM pg_authid a",
		}
		for _, sql := range attacks {
			got, err := query(conn, sql)
			if err == nil || !strings.Contains(err.Error(), "may not be used: it holds passwords") {
				t.Errorf("%s: it was not refused: %v, %v", sql, got, err)
			}
		}
		if got := rows(t, s.connect(t, "dbname=postgres"), "SELECT count(*) FROM pg_class WHERE relname = 'stolen'"); got[0][0] != "0" {
			t.Error("something was stolen")
		}
	})
}
