package sql_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// oracleSchema is a database with protected columns: customers.card_number, and secret of a table and its child.
const oracleSchema = `
create table customers (id int primary key, name text, card_number text, email text);
create table orders (id int, customer_id int, total int, note text);
create view cv as select id, name, card_number as c from customers;
create view cv2 as select * from cv where id > 1;
create view cl as select id, upper(name) as uname, length(card_number) as l, total from customers join orders o using (id);
create table parent (id int, secret text);
create table child () inherits (parent);
create function card_of(int) returns text language sql as 'select card_number from customers where id = $1';
insert into customers values (1, 'ann', 'CARD1', 'a@x'), (2, 'bob', 'CARD2', 'b@x'), (3, 'cyd', 'CARD3', 'c@x'), (4, 'dee', 'CARD4', 'd@x');
insert into orders values (1, 1, 10, 'n1'), (2, 1, 20, 'n2'), (3, 2, 30, 'n3'), (4, 3, 40, 'n4');
insert into child values (1, 'CARD1'), (2, 'CARD2')`

// otherSecrets changes the protected values alone.
const otherSecrets = `
update customers set card_number = case id when 1 then 'ZZTOP9' when 2 then 'AA' when 4 then 'MM4' end;
update parent set secret = 'other' || id`

// rounds is how many random queries are tried. ORACLE_ROUNDS and ORACLE_SEED run more, or others.
const rounds = 6000

// TestAgainstTheServer holds the recogniser and the lineage against what a server does, with random queries and
// two databases that differ in protected values alone: whatever is said to be clear must be the same in both.
func TestAgainstTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server")
	}
	server, err := postgresserver.Start("autovacuum=off") // both databases are to be planned alike
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	connect := func(database string) *pgconn.PgConn {
		conn, err := pgconn.Connect(ctx, server.DSN(postgresserver.Superuser, server.Password, database))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	admin := connect("postgres")
	mustExec(ctx, t, admin, "create database one")
	mustExec(ctx, t, admin, "create database two")
	one, two := connect("one"), connect("two")
	mustExec(ctx, t, one, oracleSchema)
	mustExec(ctx, t, two, oracleSchema+";"+otherSecrets)
	for _, c := range []*pgconn.PgConn{one, two} {
		// A query that never ends says nothing; what is sorted and not hashed comes in the same order in both.
		mustExec(ctx, t, c, "set statement_timeout = '3s'; set enable_hashagg = off")
	}
	o := &oracle{one: one, two: two, cat: readCatalogue(ctx, t, one)}
	if o.protected, err = sql.NewProtected([]policy.Masking{
		{Columns: []string{"public.customers.card_number"}}, {Columns: []string{"public.parent.secret"}},
	}); err != nil {
		t.Fatal(err)
	}
	t.Run("syntax errors have the server's words and positions", func(t *testing.T) { o.syntax(ctx, t) })
	t.Run("random queries", func(t *testing.T) {
		seed, n := int64(setting(t, "ORACLE_SEED", 1)), setting(t, "ORACLE_ROUNDS", rounds)
		for i := range n {
			w := &writer{Rand: rand.New(rand.NewSource(seed + int64(i)))}
			query := w.query(&level{}, 1+w.Intn(3), 0)
			o.tables(ctx, t, query)
			o.lineage(ctx, t, query+w.pick("", " order by 1", " order by "+w.pick(oracleColumns...)))
			if t.Failed() {
				t.Fatalf("seed %d", seed+int64(i))
			}
		}
		t.Logf("of %d queries %d ran, with %d columns, %d of them clear; the tables of %d were compared", n, o.ran, o.columns, o.clear, o.compared)
		if o.ran < n/50 || o.clear < o.ran/2 {
			t.Error("too few queries say anything")
		}
	})
}

type oracle struct {
	one, two                      *pgconn.PgConn
	cat                           *catalogue.Catalogue
	protected                     *sql.Protected
	ran, columns, clear, compared int
}

func (o *oracle) state() sql.State {
	st := sql.DefaultState()
	st.Catalogue = o.cat
	return st
}

// syntax compares errors.
func (o *oracle) syntax(ctx context.Context, t *testing.T) {
	for _, query := range []string{
		"selct 1", "select * frm t", "select é, 'ünï' from from", "select 1 from", "select 'abc", `select "abc`, "select $$abc",
		"select 1 /* abc", "select 1; selct 2", "select 1 + ;", "select (1", "insert into t values (1,,2)", "create table t (id int,)",
		"update t where x", "select * from t where", "with a as () select 1", "copy t frm stdin", "select é from 日本 where (é = 3 é é",
		"begin transaction serializable", "select 1 as", "grant on t to bob", "select [1]", "drop", "select @ from",
	} {
		_, err := o.one.Exec(ctx, query).ReadAll()
		var want *pgconn.PgError
		if !errors.As(err, &want) {
			t.Errorf("%s: the server says %v", query, err)
			continue
		}
		var got *sql.SyntaxError
		if _, err = sql.Parse(query, o.state()); !errors.As(err, &got) {
			t.Errorf("%s: parsed: %v", query, err)
			continue
		}
		if got.Message != want.Message || got.Position != int(want.Position) {
			t.Errorf("%s: got %q at %d, the server says %q at %d", query, got.Message, got.Position, want.Message, want.Position)
		}
	}
}

// tables compares the tables of a query with those that a view over it depends on.
func (o *oracle) tables(ctx context.Context, t *testing.T, query string) {
	results, err := o.one.Exec(ctx, `begin; create view pg_temp.asked as select 1 as one from (`+query+`) q;
		select distinct n.nspname || '.' || c.relname from pg_rewrite r
		join pg_class v on v.oid = r.ev_class and v.relname = 'asked'
		join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
		join pg_class c on c.oid = d.refobjid and c.relname <> 'asked' join pg_namespace n on n.oid = c.relnamespace`).ReadAll()
	mustExec(ctx, t, o.one, "rollback")
	if err != nil {
		return
	}
	o.compared++
	var want, got []string
	for _, row := range results[2].Rows {
		want = append(want, string(row[0]))
	}
	parsed, err := sql.Parse(query, o.state())
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return
	}
	for _, table := range parsed.Commands[0].SQL.Tables {
		if table.Schema != "pg_catalog" { // a dependency on what cannot be dropped is not recorded
			got = append(got, table.Schema+"."+table.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s\nreads %v\nthe server says %v", query, got, want)
	}
}

// lineage runs a query in both databases. Where it is said to infer nothing, they have to give as many rows; and
// a column that is clear has to be the same in both, and never hold a protected value.
func (o *oracle) lineage(ctx context.Context, t *testing.T, query string) {
	first, err := o.one.Exec(ctx, query).ReadAll()
	if err != nil || len(first[0].FieldDescriptions) == 0 {
		return
	}
	second, secondErr := o.two.Exec(ctx, query).ReadAll()
	parsed, err := sql.Parse(query, o.state())
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return
	}
	shape := parsed.Statements[0].Lineage(o.protected, o.cat)
	o.ran++
	n := len(first[0].FieldDescriptions)
	if shape.Known && len(shape.Columns) != n {
		t.Errorf("%s\nhas %d columns, not %d", query, n, len(shape.Columns))
	}
	silent := shape.Infers == ""
	if silent && (secondErr != nil || len(first[0].Rows) != len(second[0].Rows)) {
		t.Errorf("%s\ntells of protected values: %d rows, and %v", query, len(first[0].Rows), secondErr)
		return
	}
	for i := range n {
		o.columns++
		if shape.Column(i, n).Proof != sql.Clear {
			continue
		}
		o.clear++
		a := column(first[0], i)
		if bytes.Contains(a, []byte("CARD")) {
			t.Errorf("%s\ncolumn %d is not clear: %s", query, i, a)
		}
		if silent && !bytes.Equal(a, column(second[0], i)) {
			t.Errorf("%s\ncolumn %d hangs on protected values: %s and %s", query, i, a, column(second[0], i))
		}
	}
}

// column is a result's column without the order of rows, which nothing promises: an ORDER BY on a protected
// column is told by Infers.
func column(r *pgconn.Result, i int) []byte {
	var values []string
	for _, row := range r.Rows {
		value := "NULL"
		if row[i] != nil {
			value = strconv.Quote(string(row[i]))
		}
		values = append(values, value)
	}
	slices.Sort(values)
	return []byte(strings.Join(values, " "))
}

func readCatalogue(ctx context.Context, t *testing.T, conn *pgconn.PgConn) *catalogue.Catalogue {
	results, err := conn.Exec(ctx, catalogue.Query).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	b := catalogue.NewBuilder()
	for i, r := range results {
		for _, row := range r.Rows {
			if err := b.Row(i, row); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.Build()
}

func mustExec(ctx context.Context, t *testing.T, conn *pgconn.PgConn, statements string) {
	t.Helper()
	if _, err := conn.Exec(ctx, statements).ReadAll(); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
