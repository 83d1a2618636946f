package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestEmptyQueriesAreAnsweredAsEmpty(t *testing.T) {
	s := newSidecar(t, allowAll())
	for name, test := range map[string]struct {
		run  script
		want string
	}{
		"nothing at all":                {script{q("")}, "I Z(I)"},
		"semicolons":                    {script{q(" ; ;; ")}, "I Z(I)"},
		"a comment":                     {script{q("-- nothing\n/* nothing */")}, "I Z(I)"},
		"between others":                {script{q("SELECT 1; ; SELECT 2")}, "T(1) D(1) C(SELECT 1) T(1) D(2) C(SELECT 1) Z(I)"},
		"prepared and run":              {script{parse("", ""), bind("", ""), describe('P', ""), execute("", 0), syncing}, "1 2 n I Z(I)"},
		"prepared by name, and a query": {script{parse("empty", "--"), describe('S', "empty"), bind("", "empty"), execute("", 0), syncing, q("SELECT 3")}, "1 t(0) n 2 I Z(I) T(1) D(3) C(SELECT 1) Z(I)"},
	} {
		t.Run(name, func(t *testing.T) {
			sameAsDirect(t, s, []script{test.run})
			k := talk(t, s.connect(t, ""))
			k.send(test.run...)
			if got := k.until("Z", test.run.syncs()); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAnswersComeWithAFlush(t *testing.T) {
	k := talk(t, newSidecar(t, allowAll()).connect(t, ""))
	for _, step := range []struct {
		send  script
		until string
		want  string
	}{
		{script{parse("s", "SELECT $1::int"), flush}, "1", "1"},
		{script{describe('S', "s"), flush}, "T", "t(1) T(1)"},
		{script{bind("p", "s", "7"), execute("p", 0), flush}, "C", "2 D(7) C(SELECT 1)"},
		{script{closing('P', "p"), closing('S', "s"), flush}, "3", "3"},
		{script{syncing}, "Z", "3 Z(I)"},
	} {
		k.send(step.send...)
		if got := k.until(step.until, 1); got != step.want {
			t.Fatalf("got %s, want %s", got, step.want)
		}
	}
}

func TestErrorsOfTheServerPassWhereverTheyAreRaised(t *testing.T) {
	s := newSidecar(t, allowAll())
	late := q("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
	after := script{q("SELECT 'goes on'")}
	for name, test := range map[string]struct {
		runs []script
		code string
	}{
		"as a statement is parsed":        {[]script{{parse("", "SELECT * FROM nowhere"), bind("", ""), execute("", 0), syncing}}, "42P01"},
		"as a value is bound":             {[]script{{parse("", "SELECT $1::int"), bind("", "", "x"), execute("", 0), syncing}}, "22P02"},
		"as a portal is described":        {[]script{{describe('P', "nowhere"), syncing}}, "34000"},
		"as it runs":                      {[]script{{parse("", "SELECT 1/0"), bind("", ""), execute("", 0), syncing}}, "22012"},
		"behind rows that came":           {[]script{{q("SELECT 1 / (3 - g) FROM generate_series(1, 3) g")}}, "22012"},
		"at the sync, which commits":      {[]script{{late}, {parse("", "INSERT INTO late VALUES (1), (1)"), bind("", ""), execute("", 0), syncing}}, "23505"},
		"at the COMMIT":                   {[]script{{late}, {q("BEGIN; INSERT INTO late VALUES (1), (1)")}, {q("COMMIT")}}, "23505"},
		"in the middle of a query string": {[]script{{q("SELECT 1; SELECT 1/0; SELECT 3")}}, "22012"},
		"inside COPY out":                 {[]script{{q("COPY (SELECT 1 / (3 - g) FROM generate_series(1, 3) g) TO STDOUT")}}, "22012"},
		"inside COPY in":                  {[]script{{q("CREATE TEMP TABLE c (n int)")}, {q("COPY c FROM STDIN"), copyData("1\nx\n"), copyDone}}, "22P02"},
		"in a function, with its context": {[]script{{q("DO $$ BEGIN PERFORM 1/0; END $$")}}, "22012"},
		"with every field": {[]script{{q(`DO $$ BEGIN RAISE EXCEPTION 'm' USING ERRCODE = 'P9999', DETAIL = 'd', HINT = 'h', COLUMN = 'c', CONSTRAINT = 'n',
			DATATYPE = 't', TABLE = 'r', SCHEMA = 's'; END $$`)}}, "P9999"},
		"in a transaction that failed": {[]script{{q("BEGIN")}, {q("SELECT 1/0")}, {q("SELECT 1")}, {q("ROLLBACK")}, {q("SELECT 1/0")}}, "22012"},
	} {
		t.Run(name, func(t *testing.T) {
			if last := sameAsDirect(t, s, test.runs); !strings.Contains(last, "C"+test.code+`\x00`) {
				t.Fatalf("no error %s: %s", test.code, last)
			}
			sameAsDirect(t, s, append(test.runs, after))
		})
	}
}

func TestCopyPassesInEveryFormat(t *testing.T) {
	s := newSidecar(t, allowAll())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn := s.connect(t, "")
	rows(t, conn, "CREATE TEMP TABLE kinds (id int, body text, raw bytea, at timestamptz)")
	const of = `(SELECT g, CASE g % 3 WHEN 0 THEN NULL WHEN 1 THEN E'a\t"b"\n\\c,é' ELSE '' END, decode('00ff0a', 'hex'), '2026-01-02 03:04:05+00'::timestamptz
		FROM generate_series(1, 1000) g ORDER BY g)`
	for _, options := range []string{"(FORMAT text)", "(FORMAT csv, HEADER, FORCE_QUOTE *)", "(FORMAT binary)", "(FORMAT text, DELIMITER '|', NULL 'none')", "(FORMAT csv, QUOTE '''', ESCAPE '!')"} {
		t.Run(options, func(t *testing.T) {
			var want, got, again bytes.Buffer
			past, err := pgconn.Connect(ctx, server.DSN("agent", agentPassword, "app"))
			if err != nil {
				t.Fatal(err)
			}
			defer past.Close(ctx)
			if _, err := past.CopyTo(ctx, &want, "COPY "+of+" TO STDOUT "+options); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.CopyTo(ctx, &got, "COPY "+of+" TO STDOUT "+options); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Fatalf("out: %d bytes, want %d, %v", got.Len(), want.Len(), err)
			}
			rows(t, conn, "TRUNCATE kinds")
			in := strings.ReplaceAll(options, "HEADER, FORCE_QUOTE *", "HEADER, FORCE_NOT_NULL (raw)")
			if tag, err := conn.CopyFrom(ctx, bytes.NewReader(want.Bytes()), "COPY kinds FROM STDIN "+in); err != nil || tag.RowsAffected() != 1000 {
				t.Fatalf("in: %s, %v", tag, err)
			}
			if _, err := conn.CopyTo(ctx, &again, "COPY kinds TO STDOUT "+strings.ReplaceAll(options, "HEADER, ", "HEADER false, ")); err != nil {
				t.Fatal(err)
			}
			if got := rows(t, conn, "SELECT count(*) FROM (TABLE kinds EXCEPT ALL "+of+") x")[0][0]; got != "0" {
				t.Fatalf("%s of 1000 rows are others than were sent", got)
			}
		})
	}
}

func TestLargeObjectsThroughSQL(t *testing.T) {
	s := newSidecar(t, allowAll())
	last := sameAsDirect(t, s, []script{
		{q("BEGIN; SELECT lo_create(4711); SELECT lo_put(4711, 2, 'abc'); SELECT lo_get(4711)")},
		{q("SELECT loread(lo_open(4711, 262144), 4)")},
		{q("SELECT lowrite(lo_open(4711, 131072), 'xyz'), lo_lseek64(lo_open(4711, 262144), 0, 2)")},
		{parse("", "SELECT lo_get(4711, $1, 3)"), bind("", "", "1"), execute("", 0), syncing},
		{q("SELECT lo_truncate(lo_open(4711, 131072), 1)"), q("SELECT lo_get(4711)")},
		{q("SELECT lo_from_bytea(4712, '\\x0102'); SELECT lo_unlink(4711), lo_unlink(4712)"), q("SELECT lo_get(4711)")},
		{q("ROLLBACK"), q("SELECT 'goes on'")},
	})
	if !strings.Contains(last, "goes on") {
		t.Fatal(last)
	}
}

// hears waits for a notification without asking for anything.
func hears(t *testing.T, conn *pgconn.PgConn, into *[]*pgconn.Notification) *pgconn.Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for len(*into) == 0 {
		if err := conn.WaitForNotification(ctx); err != nil {
			t.Fatal(err)
		}
	}
	n := (*into)[0]
	*into = (*into)[1:]
	return n
}

func TestNotificationsReachWhoListens(t *testing.T) {
	s := newSidecar(t, masked("Redact"))
	var got []*pgconn.Notification
	conn, err := s.tryConnect("", func(c *pgconn.Config) {
		c.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { got = append(got, n) }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows(t, conn, `LISTEN "the news"`)
	other := s.connect(t, "")
	want := func(t *testing.T, from *pgconn.PgConn, payload string) {
		t.Helper()
		if n := hears(t, conn, &got); n.Channel != "the news" || n.Payload != payload || n.PID != from.PID() {
			t.Fatalf("heard %+v, want %q of process %d", n, payload, from.PID())
		}
	}
	t.Run("of another session, as nothing is asked", func(t *testing.T) {
		for i := range 3 {
			rows(t, other, fmt.Sprintf(`NOTIFY "the news", 'number %d'`, i))
			want(t, other, fmt.Sprintf("number %d", i))
		}
	})
	t.Run("what a detector finds in one is masked, as nothing is asked", func(t *testing.T) {
		direct(t, `SELECT pg_notify('the news', 'card 4111 1111 1111 1111')`)
		if n := hears(t, conn, &got); n.Payload != "card **** **** **** ****" {
			t.Fatalf("heard %q", n.Payload)
		}
	})
	t.Run("of its own, at the end of the transaction", func(t *testing.T) {
		rows(t, conn, `BEGIN; SELECT pg_notify('the news', 'of my own')`)
		if len(got) != 0 {
			t.Fatalf("heard %+v before the COMMIT", got)
		}
		rows(t, conn, "COMMIT")
		want(t, conn, "of my own")
	})
	t.Run("none of what was rolled back, or is not listened to any more", func(t *testing.T) {
		rows(t, other, `BEGIN; NOTIFY "the news", 'undone'; ROLLBACK`)
		rows(t, other, `NOTIFY "the news", 'the last'`)
		want(t, other, "the last")
		rows(t, conn, "UNLISTEN *; LISTEN ends")
		rows(t, other, `NOTIFY "the news", 'too late'; NOTIFY ends`)
		if n := hears(t, conn, &got); n.Channel != "ends" {
			t.Fatalf("heard %+v", n)
		}
	})
	t.Run("the message is the server's, byte by byte", func(t *testing.T) {
		sameAsDirect(t, s, []script{{q("LISTEN here")}, {q("NOTIFY here, 'é'; SELECT 1")}, {parse("", "NOTIFY here"), bind("", ""), execute("", 0), syncing}})
	})
}
