package postgres

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestParserErrors wants what the sidecar's grammar complains of in every field as the server's says it.
func TestParserErrors(t *testing.T) {
	statements := []string{
		"SELECT 1 FROM WHERE x",
		"SELECT 'é' || FORM",
		"CREATE OPERATOR ## (function = f, leftarg = int); DROP OPERATOR ## (int4)",
		"SELECT 1 LIMIT 1, 2",
		"CREATE POLICY p ON customers AS ugly",
		"CREATE ROLE r UNENCRYPTED PASSWORD 'x'",
		"CREATE PUBLICATION p FOR customers",
		"CREATE SCHEMA IF NOT EXISTS s CREATE TABLE t (id int)",
		"ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers MATCH PARTIAL",
		"CREATE TABLE fk (id int REFERENCES customers ON UPDATE SET NULL (id))",
		"ALTER TABLE orders ADD CHECK (id > 0) DEFERRABLE",
		"ALTER TABLE orders ALTER COLUMN 99999 SET STATISTICS 1",
		"SELECT 1::float(0)",
		"SELECT 1::float(54)",
		"SELECT sum(id) OVER (ROWS UNBOUNDED FOLLOWING) FROM orders",
		"SELECT sum(id) OVER (ROWS BETWEEN CURRENT ROW AND 1 PRECEDING) FROM orders",
		"DROP ROLE current_user",
		"CREATE ROLE none",
		`SELECT E'\uXXXX'`,
		`SELECT U&'\00zz'`,
		`SELECT E'\ud800'`,
		"SELECT 'open",
		`SELECT "open`,
		"SELECT /* open",
		"SELECT $a$ open",
		"SELECT 1a",
		"CREATE ASSERTION a CHECK (true)",
		"SELECT UNIQUE (SELECT 1)",
		"SELECT INTO a, b",
		"SELECT 1; SELEC 2",
	}
	s := newSidecar(t, allowAll())
	for _, sql := range statements {
		t.Run(sql, func(t *testing.T) {
			var want, got *pgconn.PgError
			if _, err := queryDirect(t, sql); !errors.As(err, &want) {
				t.Fatalf("past the sidecar: %v", err)
			}
			if _, err := query(s.connect(t, ""), sql); !errors.As(err, &got) {
				t.Fatalf("through the sidecar: %v", err)
			}
			got.File, got.Line, got.Routine = want.File, want.Line, want.Routine
			if *got != *want {
				t.Fatalf("through the sidecar %+v\npast it             %+v", got, want)
			}
		})
	}
}
