package sql

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// The list is what the servers have in pg_catalog: one that is missing would be withheld for nothing.
func TestBuiltinOperators(t *testing.T) {
	seen := make(map[string]bool)
	postgresserver.Each(t, func(t *testing.T, s *postgresserver.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgconn.Connect(ctx, s.DSN(postgresserver.Superuser, s.Password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		results, err := conn.Exec(ctx, "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range results[0].Rows {
			seen[string(row[0])] = true
			if !knownOperator("", string(row[0])) {
				t.Errorf("%s is not on the list", row[0])
			}
		}
	})
	for name := range builtinOperators {
		if len(seen) > 0 && !seen[name] {
			t.Errorf("%s is on the list, and no server has it", name)
		}
	}
}
