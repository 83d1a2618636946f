package catalogue

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// TestServersCode reads what code is the database's own from servers that have extensions with operators, casts and
// functions by names of the server's: those count as the server's.
func TestServersCode(t *testing.T) {
	postgresserver.Each(t, func(t *testing.T, s *postgresserver.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgconn.Connect(ctx, s.DSN(postgresserver.Superuser, s.Password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		read := func(statements string) []string {
			t.Helper()
			if _, err := conn.Exec(ctx, statements).ReadAll(); err != nil {
				t.Fatal(err)
			}
			results, err := conn.Exec(ctx, Query).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			b := NewBuilder()
			for i, r := range results {
				for _, row := range r.Rows {
					if err := b.Row(i, row); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(results) != Results {
				t.Fatalf("%d results", len(results))
			}
			var out []string
			for o := range b.Build().own {
				out = append(out, string(rune(o.kind))+" "+o.name)
			}
			slices.Sort(out)
			return out
		}
		extensions := "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto; CREATE EXTENSION fuzzystrmatch; CREATE EXTENSION lo; CREATE EXTENSION ltree; CREATE EXTENSION pg_trgm; CREATE EXTENSION \"uuid-ossp\"; CREATE EXTENSION intarray; CREATE EXTENSION cube"
		if got, want := read(extensions), []string{"a lo_oid"}; !slices.Equal(got, want) { // in SQL, by a name of its own
			t.Errorf("of extensions: got %q, want %q", got, want)
		}
		got := read(`CREATE FUNCTION upper(int) RETURNS text LANGUAGE sql AS 'SELECT 1::text'; CREATE FUNCTION quite_my_own() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE OPERATOR + (rightarg = text, function = pg_catalog.lower);
CREATE FUNCTION plus(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1'; CREATE OPERATOR + (leftarg = text, rightarg = int, function = plus);
CREATE TYPE boxed AS (v text); CREATE FUNCTION box(int) RETURNS boxed LANGUAGE sql AS 'SELECT ROW(''x'')::boxed'; CREATE CAST (int AS boxed) WITH FUNCTION box(int);
CREATE FUNCTION unbox(boxed) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (boxed AS int) WITH FUNCTION unbox(boxed) AS IMPLICIT;
CREATE AGGREGATE max(boxed) (sfunc = array_append, stype = boxed[])`)
		want := []string{"a lo_oid", "a unbox", "c boxed", "f box", "f max", "f upper", "i ", "o +"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
