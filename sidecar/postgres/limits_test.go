package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

func TestLimits(t *testing.T) {
	pg := allowAll()
	pg.Limits = policy.Limits{Rows: 10, Bytes: 4096, StatementTimeoutMS: 2000, MaxStatementBytes: 1000}
	s := newSidecar(t, pg)
	conn := s.connect(t, "")
	t.Run("rows", func(t *testing.T) {
		rows(t, conn, "SELECT id FROM orders LIMIT 10")
		_, err := query(conn, "SELECT id FROM orders")
		wantError(t, err, "54000", "more than 10 rows", "limits.rows")
		rows(t, conn, "SELECT 1")
	})
	t.Run("rows of an endless result, which is cancelled", func(t *testing.T) {
		_, err := query(conn, "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r")
		wantError(t, err, "54000", "more than 10 rows")
		rows(t, conn, "SELECT 1")
	})
	t.Run("bytes", func(t *testing.T) {
		_, err := query(conn, "SELECT repeat('x', 5000)")
		wantError(t, err, "54000", "more than 4096 bytes")
		rows(t, conn, "SELECT 1")
	})
	t.Run("copied rows", func(t *testing.T) {
		var b bytes.Buffer
		_, err := conn.CopyTo(context.Background(), &b, "COPY orders TO STDOUT")
		wantError(t, err, "54000", "more than 10 rows")
		rows(t, conn, "SELECT 1")
	})
	t.Run("in a pipeline, what comes behind is skipped", func(t *testing.T) {
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "SELECT id FROM orders ORDER BY id"), bind("", ""), execute("", 0), syncing, q("SELECT 7"))
		got := k.until("Z", 2)
		if !strings.HasSuffix(got, "D(10) E(54000) Z(I) T(1) D(7) C(SELECT 1) Z(I)") {
			t.Fatal(got)
		}
	})
	t.Run("statement time", func(t *testing.T) {
		_, err := query(conn, "SELECT pg_sleep(10)")
		wantError(t, err, "57014", "statement timeout")
		for _, sql := range []string{"SET statement_timeout = 0", "SET statement_timeout = '1h'", "SELECT set_config('statement_timeout', '0', false)"} {
			_, err = query(conn, sql)
			wantError(t, err, "42501", "statementTimeout")
		}
		rows(t, conn, "SET statement_timeout = '1s'; RESET statement_timeout")
		if got := rows(t, conn, "SHOW statement_timeout"); got[0][0] != "2s" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("the agent's own startup timeout counts where it is lower", func(t *testing.T) {
		low := s.connect(t, "options='-c statement_timeout=500'")
		if got := rows(t, low, "SHOW statement_timeout"); got[0][0] != "500ms" {
			t.Fatalf("got %v", got)
		}
		high := s.connect(t, "options='-c statement_timeout=0'")
		if got := rows(t, high, "SHOW statement_timeout"); got[0][0] != "2s" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("statement size", func(t *testing.T) {
		_, err := query(conn, "SELECT '"+strings.Repeat("x", 2000)+"'")
		wantError(t, err, "42501", "bytes long, more than the 1000")
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "SELECT '"+strings.Repeat("x", 600<<10)+"'"), bind("", ""), syncing, q("SELECT 7"))
		if got := k.until("Z", 2); got != "E(42501) Z(I) T(1) D(7) C(SELECT 1) Z(I)" {
			t.Fatal(got)
		}
	})
}

func TestCancelRunning(t *testing.T) {
	s := newSidecar(t, allowAll())
	t.Run("a cancel request reaches the statement that runs", func(t *testing.T) {
		conn := s.connect(t, "")
		done := later(conn, "SELECT pg_sleep(30)")
		time.Sleep(200 * time.Millisecond)
		if err := conn.CancelRequest(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantError(t, await(t, done).err, "57014")
		rows(t, conn, "SELECT 1")
	})
	t.Run("the process id is the server's, by which a client finds itself there, and a wrong key cancels nothing", func(t *testing.T) {
		conn := s.connect(t, "")
		pid := rows(t, conn, "SELECT pg_backend_pid()")[0][0]
		if pid != fmt.Sprint(conn.PID()) {
			t.Fatalf("the agent has the process id %d, the server's is %s", conn.PID(), pid)
		}
		done := later(conn, "SELECT pg_sleep(0.5)")
		time.Sleep(100 * time.Millisecond)
		key := append([]byte(nil), conn.SecretKey()...)
		key[0] ^= 1
		packet := append(packetOf(1234<<16|5678), byte(conn.PID()>>24), byte(conn.PID()>>16), byte(conn.PID()>>8), byte(conn.PID()))
		packet = append(packet, key...)
		packet[3] = byte(len(packet))
		raw(t, s, packet)
		if o := await(t, done); o.err != nil {
			t.Fatal(o.err)
		}
	})
}

func TestServerEnds(t *testing.T) {
	own, err := postgresserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Stop() })
	pg := allowAll()
	pg.CAPEM = own.Authority.PEM
	start := func(t *testing.T) *sidecar {
		s := newSidecar(t, pg)
		s.dial(own.Address())
		lease := *s.lease.Load()
		lease.Username, lease.Password = postgresserver.Superuser, own.Password
		s.lease.Store(&lease)
		return s
	}
	t.Run("the backend is terminated: the agent reads why", func(t *testing.T) {
		s := start(t)
		conn := s.connect(t, "dbname=postgres")
		done := later(conn, "SELECT pg_sleep(30)")
		time.Sleep(200 * time.Millisecond)
		past, err := pgconn.Connect(context.Background(), own.DSN(postgresserver.Superuser, own.Password, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer past.Close(context.Background())
		rows(t, past, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()")
		wantError(t, await(t, done).err, "57P01")
	})
	t.Run("the server crashes and comes back: the next connection works", func(t *testing.T) {
		s := start(t)
		k := talk(t, s.connect(t, "dbname=postgres"))
		own.Down()
		got := k.until("E", 1)
		if !strings.HasPrefix(got, "E(") && !strings.HasPrefix(got, "N(") {
			t.Fatal(got)
		}
		if _, err := s.tryConnect("dbname=postgres", nil); err == nil {
			t.Fatal("connected to a server that is down")
		}
		if err := own.Up(); err != nil {
			t.Fatal(err)
		}
		rows(t, s.connect(t, "dbname=postgres"), "SELECT 1")
		if ends := s.log.Find(record.KindDisconnect, func(e record.Event) bool { return e.Error != "" }); len(ends) == 0 {
			t.Fatal("not recorded")
		}
	})
}

func TestBigThings(t *testing.T) {
	for name, pg := range map[string]policy.Postgres{"nothing masked": allowAll(), "everything masked": masked(policy.MaskRedact)} {
		t.Run(name, func(t *testing.T) {
			s := newSidecar(t, pg)
			conn := s.connect(t, "")
			t.Run("a row of 32 MiB", func(t *testing.T) {
				got := rows(t, conn, "SELECT repeat('y', 32 << 20), 'end'")
				if len(got[0][0]) != 32<<20 || got[0][1] != "end" {
					t.Fatalf("%d bytes, %q", len(got[0][0]), got[0][1])
				}
			})
			t.Run("a value of 16 MiB, bound", func(t *testing.T) {
				ctx := context.Background()
				big := bytes.Repeat([]byte("z"), 16<<20)
				r := conn.ExecParams(ctx, "SELECT length($1::text)", [][]byte{big}, nil, nil, nil).Read()
				if r.Err != nil || string(r.Rows[0][0]) != fmt.Sprint(16<<20) {
					t.Fatalf("%v %v", r.Rows, r.Err)
				}
				events := s.log.Find(record.KindCommand, func(e record.Event) bool { return strings.Contains(e.Text, "length($1::text)") })
				if len(events) != 1 || !strings.Contains(events[0].Text, "(16777216 bytes)") || len(events[0].Text) > 1000 {
					t.Fatalf("recorded %+v", events)
				}
			})
			t.Run("copied in and out, 20 MiB", func(t *testing.T) {
				ctx := context.Background()
				rows(t, conn, "CREATE TEMP TABLE bulk (id int, body text)")
				var in bytes.Buffer
				for i := range 200_000 {
					fmt.Fprintf(&in, "%d\t%s\n", i, strings.Repeat("b", 100))
				}
				tag, err := conn.CopyFrom(ctx, bytes.NewReader(in.Bytes()), "COPY bulk FROM STDIN")
				if err != nil || tag.RowsAffected() != 200_000 {
					t.Fatalf("%s %v", tag, err)
				}
				var out bytes.Buffer
				if _, err := conn.CopyTo(ctx, &out, "COPY (SELECT * FROM bulk ORDER BY id) TO STDOUT"); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(in.Bytes(), out.Bytes()) {
					t.Fatalf("%d bytes in, %d out", in.Len(), out.Len())
				}
				if got := rows(t, conn, "SELECT count(*), sum(length(body)) FROM bulk"); got[0][0] != "200000" {
					t.Fatalf("got %v", got)
				}
			})
			t.Run("a million rows", func(t *testing.T) {
				if got := rows(t, conn, "SELECT g FROM generate_series(1, 1000000) g"); len(got) != 1_000_000 || got[999_999][0] != "1000000" {
					t.Fatalf("%d rows", len(got))
				}
			})
		})
	}
}

func TestCopyIn(t *testing.T) {
	s := newSidecar(t, allowAll())
	tests := map[string]struct {
		runs []script
		want []string
	}{
		"extended, with the sync that the server ignores": {
			[]script{{q("CREATE TEMP TABLE c1 (id int, v text)")}, {parse("", "COPY c1 FROM STDIN"), bind("", ""), execute("", 0), syncing, copyData("1\ta\n2\tb\n"), copyDone, syncing}, {q("SELECT * FROM c1")}},
			[]string{"C(CREATE TABLE) Z(I)", "1 2 G C(COPY 2) Z(I)", "T(2) D(1,a) D(2,b) C(SELECT 2) Z(I)"},
		},
		"failed by the client": {
			[]script{{q("CREATE TEMP TABLE c2 (id int)")}, {q("COPY c2 FROM STDIN"), copyData("1\n"), &pgproto3.CopyFail{Message: "changed my mind"}}, {q("SELECT count(*) FROM c2")}},
			[]string{"C(CREATE TABLE) Z(I)", "G E(57014) Z(I)", "T(1) D(0) C(SELECT 1) Z(I)"},
		},
		"failed by the server, data still coming": {
			[]script{{q("CREATE TEMP TABLE c3 (id int)")}, {q("COPY c3 FROM STDIN"), copyData("x\n"), copyData("2\n"), copyDone}, {q("SELECT count(*) FROM c3")}},
			[]string{"C(CREATE TABLE) Z(I)", "G E(22P02) Z(I)", "T(1) D(0) C(SELECT 1) Z(I)"},
		},
		"two in one string": {
			[]script{{q("CREATE TEMP TABLE c4 (id int)")}, {q("COPY c4 FROM STDIN; COPY c4 FROM STDIN"), copyData("1\n"), copyDone, copyData("2\n"), copyDone}, {q("SELECT count(*) FROM c4")}},
			[]string{"C(CREATE TABLE) Z(I)", "G C(COPY 1) G C(COPY 1) Z(I)", "T(1) D(2) C(SELECT 1) Z(I)"},
		},
		"data without a COPY is ignored": {
			[]script{{copyData("x"), copyDone, q("SELECT 1")}},
			[]string{"T(1) D(1) C(SELECT 1) Z(I)"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := talk(t, s.connect(t, ""))
			for i, messages := range test.runs {
				k.send(messages...)
				if got := k.until("Z", 1); got != test.want[i] {
					t.Fatalf("got  %s\nwant %s", got, test.want[i])
				}
			}
		})
	}
}
