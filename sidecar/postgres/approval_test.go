package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// unfiltered asks people about DELETE and UPDATE without WHERE.
func unfiltered(wait int64, inTransaction string) policy.Postgres {
	yes := true
	pg := allowAll()
	pg.Rules = []policy.Rule{{
		Name: "unfiltered-writes", Match: policy.Match{Commands: []string{"UPDATE", "DELETE"}, Unfiltered: &yes}, Action: policy.RequireApproval,
		Approval: &policy.Approval{Required: 1, Groups: []string{"dba"}, TimeoutSeconds: 900, WaitSeconds: wait, InTransaction: inTransaction, Scope: "Pod"},
	}, {
		Name: "by-hand", Match: policy.Match{Tables: []string{"public.notes"}, Commands: []string{"UPDATE"}}, Action: policy.RequireApproval,
		Approval: &policy.Approval{Required: 1, TimeoutSeconds: 900, WaitSeconds: wait, InTransaction: inTransaction, Scope: "Pod"},
	}}
	return pg
}

type outcome struct {
	rows [][]string
	err  error
}

func later(conn *pgconn.PgConn, sql string) chan outcome {
	done := make(chan outcome, 1)
	go func() {
		rows, err := query(conn, sql)
		done <- outcome{rows, err}
	}()
	return done
}

func await(t *testing.T, done chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(time.Minute):
		t.Fatal("the statement never ended")
		return outcome{}
	}
}

func TestApprovals(t *testing.T) {
	const update = "UPDATE scratch SET body = 'touched'"
	t.Run("approved, the statement runs; the notice says how to approve", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		notices := make(chan *pgconn.Notice, 10)
		conn, err := s.tryConnect("", func(c *pgconn.Config) {
			c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices <- n }
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		done := later(conn, update)
		ask := s.desk.Next(t, 1)
		select {
		case n := <-notices:
			if !strings.Contains(n.Message, "apr-1") || !strings.Contains(n.Hint, "kubectl patch apr apr-1 -n prod") || !strings.Contains(n.Hint, `"verdict":"Approve"`) {
				t.Fatalf("got %+v", n)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no notice")
		}
		if !strings.HasPrefix(ask.Text, update) || !strings.Contains(ask.Text, "in database app") || ask.Length != len(update) || len(ask.Digest) != 64 ||
			ask.Target != "billing" || ask.Verdict.Rule != "unfiltered-writes" {
			t.Fatalf("asked %+v", ask)
		}
		select {
		case o := <-done:
			t.Fatalf("it ran before anybody approved: %+v", o)
		case <-time.After(100 * time.Millisecond):
		}
		s.desk.Decide(1, "Approved", "")
		if o := await(t, done); o.err != nil {
			t.Fatal(o.err)
		}
		events := s.log.Find(record.KindApproval, func(e record.Event) bool { return e.Decision == "Approved" })
		if len(events) != 1 || events[0].Request != "apr-1" || events[0].Deciders[0] != "alice" {
			t.Fatalf("recorded %+v", events)
		}
	})
	t.Run("the agent says why, in a comment or by its name", func(t *testing.T) {
		pg := unfiltered(0, "Refuse")
		pg.Masking = []policy.Masking{{Detectors: []string{"Email"}, Method: policy.MaskRedact}}
		s := newSidecar(t, pg)
		conn := s.connect(t, "application_name='nightly cleanup'")
		for i, c := range []struct{ sql, want string }{
			{update, "nightly cleanup"},
			{"/* ticket 4711 */ " + update, "ticket 4711"},
			{"-- asked for by jane.doe@example.com\n" + update, "asked for by "},
			{"SET application_name = 'another'; " + update, "nightly cleanup"},
		} {
			_, _ = query(conn, c.sql)
			if got := s.desk.Next(t, i+1).Justification; !strings.HasPrefix(got, c.want) || strings.Contains(got, "jane.doe") {
				t.Fatalf("%s: got %q, want %q", c.sql, got, c.want)
			}
		}
	})
	ends := map[string]struct {
		state, reason, code, words string
	}{
		"denied":  {"Denied", "not today", "42501", "not today"},
		"expired": {"Expired", "", "42501", "expired"},
	}
	for name, end := range ends {
		t.Run(name+", the agent is told and the session goes on", func(t *testing.T) {
			s := newSidecar(t, unfiltered(60, "Refuse"))
			conn := s.connect(t, "")
			done := later(conn, update)
			s.desk.Next(t, 1)
			s.desk.Decide(1, end.state, end.reason)
			wantError(t, await(t, done).err, end.code, "apr-1", end.words, "unfiltered-writes")
			rows(t, conn, "SELECT 1")
		})
	}
	t.Run("nobody can be asked", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		s.desk.Down()
		conn := s.connect(t, "")
		_, err := query(conn, update)
		wantError(t, err, "58000", "cannot be reached")
		rows(t, conn, "SELECT 1")
	})
	t.Run("cancelled by the client", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		conn := s.connect(t, "")
		done := later(conn, update)
		s.desk.Next(t, 1)
		time.Sleep(50 * time.Millisecond)
		if err := conn.CancelRequest(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantError(t, await(t, done).err, "57014", "canceling statement")
		rows(t, conn, "SELECT 1")
		if s.desk.Withdrawn(1) != 1 {
			t.Fatal("the request still waits")
		}
	})
	t.Run("the client hangs up", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		conn := s.connect(t, "")
		k := talk(t, conn)
		k.send(q(update))
		s.desk.Next(t, 1)
		k.conn.Close()
		for range 100 {
			if s.desk.Withdrawn(1) == 1 {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal("nobody noticed")
	})
	t.Run("a pipeline waits behind it", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		k := talk(t, s.connect(t, ""))
		k.send(q("SELECT 1"), q(update), q("SELECT 3"))
		s.desk.Next(t, 1)
		s.desk.Decide(1, "Approved", "")
		if got := k.until("Z", 3); got != "T(1) D(1) C(SELECT 1) Z(I) N(waiting for approval: request apr-1) C(UPDATE 0) Z(I) T(1) D(3) C(SELECT 1) Z(I)" {
			t.Fatal(got)
		}
	})
	t.Run("inside a transaction it is not held, and runs once approved", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		conn := s.connect(t, "")
		rows(t, conn, "BEGIN")
		_, err := query(conn, update)
		wantError(t, err, "42501", "apr-1", "waiting for approval", "open transaction")
		if conn.TxStatus() != 'T' {
			t.Fatalf("status %c", conn.TxStatus())
		}
		rows(t, conn, "ROLLBACK")
		s.desk.Decide(1, "Approved", "")
		rows(t, conn, "BEGIN; SELECT 1")
		rows(t, conn, update)
		rows(t, conn, "COMMIT")
	})
	t.Run("inside a transaction it is held where the rule says so", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Wait"))
		conn := s.connect(t, "")
		rows(t, conn, "BEGIN")
		done := later(conn, update)
		s.desk.Next(t, 1)
		s.desk.Decide(1, "Approved", "")
		if o := await(t, done); o.err != nil {
			t.Fatal(o.err)
		}
		rows(t, conn, "COMMIT")
	})
	t.Run("without waiting: refused with the request's name, then run, once", func(t *testing.T) {
		s := newSidecar(t, unfiltered(0, "Refuse"))
		conn := s.connect(t, "")
		_, err := query(conn, update)
		wantError(t, err, "42501", "apr-1", "once it is approved")
		_, err = query(conn, update)
		wantError(t, err, "42501", "apr-1")
		s.desk.Decide(1, "Approved", "")
		rows(t, conn, update)
		_, err = query(conn, update)
		wantError(t, err, "42501", "apr-2")
	})
	t.Run("an approval is for the same statement, values, database and path alone", func(t *testing.T) {
		s := newSidecar(t, unfiltered(0, "Refuse"))
		k := talk(t, s.connect(t, ""))
		run := func(values ...string) string {
			k.send(parse("", "UPDATE notes SET body = $2 WHERE id = $1"), bind("", "", values...), execute("", 0), syncing)
			return k.until("Z", 1)
		}
		if got := run("7", "x"); got != "1 E(42501) Z(I)" {
			t.Fatal(got)
		}
		s.desk.Decide(1, "Approved", "")
		if got := run("8", "x"); got != "1 E(42501) Z(I)" {
			t.Fatal(got)
		}
		if got := run("7", "y"); got != "1 E(42501) Z(I)" {
			t.Fatal(got)
		}
		if n := s.desk.Count(); n != 3 {
			t.Fatalf("%d requests", n)
		}
		if got := run("7", "x"); got != "1 2 C(UPDATE 0) Z(I)" {
			t.Fatal(got)
		}
		if text := s.desk.Next(t, 1).Text; !strings.Contains(text, "$1 = '7', $2 = 'x'") {
			t.Fatal(text)
		}
		k.send(q(update))
		k.until("Z", 1)
		s.desk.Decide(4, "Approved", "")
		k.send(q("SET search_path = public, pg_catalog"), q(update))
		if got := k.until("Z", 2); !strings.HasSuffix(got, "E(42501) Z(I)") {
			t.Fatal(got)
		}
		elsewhere := s.connect(t, "dbname=postgres")
		_, err := query(elsewhere, update)
		wantError(t, err, "42501", "apr-6")
		begun := s.connect(t, "search_path=pg_catalog,public")
		_, err = query(begun, update)
		wantError(t, err, "42501", "apr-7")
		if text := s.desk.Next(t, 7).Text; !strings.Contains(text, "search_path pg_catalog, public") {
			t.Fatal(text)
		}
	})
	t.Run("an approval is for the formats in which it was asked for", func(t *testing.T) {
		const update = "UPDATE notes SET body = body WHERE '02/01/2026'::date > now()"
		s := newSidecar(t, unfiltered(0, "Refuse"))
		k := talk(t, s.connect(t, ""))
		asks := func(n int, conn *talker, text string) {
			t.Helper()
			conn.send(q(update))
			if got := conn.until("Z", 1); !strings.Contains(got, "E(42501)") {
				t.Fatal(got)
			}
			if got := s.desk.Next(t, n).Text; !strings.Contains(got, text) {
				t.Fatalf("people see %s", got)
			}
		}
		asks(1, k, "-- in database")
		s.desk.Decide(1, "Approved", "")
		k.send(q("SET DateStyle = 'ISO, DMY'"))
		k.until("Z", 1)
		asks(2, k, "DateStyle ISO, DMY")
		asks(3, talk(t, s.connect(t, "options='-c DateStyle=SQL,YMD'")), "DateStyle SQL, YMD")
		asks(4, talk(t, s.connect(t, "options='-c TimeZone=Asia/Tokyo'")), "TimeZone Asia/Tokyo")
		k.send(q("BEGIN"), parse("", "SET LOCAL DateStyle = 'SQL, DMY'"), bind("", ""), execute("", 0), parse("", update), bind("", ""), execute("", 0), syncing)
		if got := k.until("Z", 2); !strings.Contains(got, "E(42501)") {
			t.Fatal(got)
		}
		if got := s.desk.Next(t, 5).Text; !strings.Contains(got, "as its pipeline sets them") {
			t.Fatalf("people see %s", got)
		}
		k.send(q("ROLLBACK"), q("SET DateStyle = 'ISO, MDY'"))
		k.until("Z", 2)
		k.send(q(update))
		if got := k.until("Z", 1); !strings.Contains(got, "C(UPDATE") {
			t.Fatalf("what was approved does not run: %s", got)
		}
	})
	t.Run("a prepared statement is approved where it is bound, and holds no locks meanwhile", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "UPDATE notes SET body = body WHERE id = $1"), bind("", "", "1"), describe('P', ""), execute("", 0), syncing)
		s.desk.Next(t, 1)
		time.Sleep(50 * time.Millisecond)
		if got := direct(t, "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'notes'"); got[0][0] != "0" {
			t.Fatalf("%s locks are held", got[0][0])
		}
		s.desk.Decide(1, "Approved", "")
		if got := k.until("Z", 1); got != "1 N(waiting for approval: request apr-1) 2 n C(UPDATE 1) Z(I)" {
			t.Fatal(got)
		}
	})
	t.Run("nobody is asked about a statement that the server does not take", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "UPDATE notes SET no_such_column = $1"), bind("", "", "1"), execute("", 0), syncing, q("SELECT 1"))
		if got := k.until("Z", 2); got != "E(42703) Z(I) T(1) D(1) C(SELECT 1) Z(I)" {
			t.Fatal(got)
		}
		if n := s.desk.Count(); n != 0 {
			t.Fatalf("%d requests", n)
		}
	})
	t.Run("in a pipeline behind work it is not held, and the work is undone", func(t *testing.T) {
		s := newSidecar(t, unfiltered(60, "Refuse"))
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "INSERT INTO scratch VALUES (30, 'x')"), bind("", ""), execute("", 0), parse("", update), bind("", ""), execute("", 0), syncing)
		if got := k.until("Z", 1); got != "1 2 C(INSERT 0 1) 1 E(42501) Z(I)" {
			t.Fatal(got)
		}
		if got := direct(t, "SELECT count(*) FROM scratch WHERE id = 30"); got[0][0] != "0" {
			t.Fatal("the statement before it was committed")
		}
	})
	t.Run("a policy that changes while people decide counts", func(t *testing.T) {
		pg := unfiltered(60, "Refuse")
		s := newSidecar(t, pg)
		conn := s.connect(t, "")
		done := later(conn, update)
		s.desk.Next(t, 1)
		pg.Rules = []policy.Rule{{Name: "closed", Match: policy.Match{Commands: []string{"UPDATE"}}, Action: policy.Deny, Message: "closed for today"}}
		s.destination.Store(destination(t, pg))
		s.desk.Decide(1, "Approved", "")
		wantError(t, await(t, done).err, "42501", "closed for today")
	})
	t.Run("what SQL prepared is asked about where it is executed", func(t *testing.T) {
		s := newSidecar(t, unfiltered(0, "Refuse"))
		conn := s.connect(t, "")
		rows(t, conn, "PREPARE p AS "+update)
		_, err := query(conn, "EXECUTE p")
		wantError(t, err, "42501", "apr-1")
		s.desk.Decide(1, "Approved", "")
		rows(t, conn, "EXECUTE p")
		_, err = query(conn, "EXPLAIN ANALYZE EXECUTE p")
		wantError(t, err, "42501", "apr-2")
		_, err = query(conn, "CREATE TABLE taken AS EXECUTE p")
		wantError(t, err, "42501", "apr-3")
	})
	t.Run("records have to be safe before an approved statement runs", func(t *testing.T) {
		s := newSidecar(t, unfiltered(0, "Refuse"))
		conn := s.connect(t, "")
		_, _ = query(conn, update)
		s.desk.Decide(1, "Approved", "")
		s.log.Fails(nil, errors.New("the operator does not acknowledge"))
		_, err := query(conn, update)
		wantError(t, err, "58000", "does not acknowledge", "onFailure: Block")
		rows(t, conn, "SELECT 1")
	})
	t.Run("a session needs approval where the target says so", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, WaitSeconds: 60}, MaxDurationSeconds: 1}
		})
		got := make(chan error, 1)
		var conn *pgconn.PgConn
		go func() {
			var err error
			conn, err = s.tryConnect("", nil)
			got <- err
		}()
		if ask := s.desk.Next(t, 1); ask.Verdict.Rule != "access" || !strings.Contains(ask.Text, `"app"`) {
			t.Fatalf("asked %+v", ask)
		}
		s.desk.Decide(1, "Approved", "")
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		rows(t, conn, "SELECT 1")
		time.Sleep(1200 * time.Millisecond)
		_, err := query(conn, "SELECT 1")
		wantError(t, err, "57P01", "access was granted")
	})
	t.Run("a session ends with the grant, in the middle of a statement too", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, WaitSeconds: 60}, MaxDurationSeconds: 600}
		})
		got := make(chan error, 1)
		var conn *pgconn.PgConn
		go func() {
			var err error
			conn, err = s.tryConnect("application_name='nightly report, ticket 4711'", nil)
			got <- err
		}()
		if ask := s.desk.Next(t, 1); ask.Justification != "nightly report, ticket 4711" {
			t.Fatalf("asked %+v", ask)
		}
		s.desk.ApproveUntil(1, time.Now().Add(3*time.Second))
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		_, err := query(conn, "SELECT pg_sleep(61)")
		wantError(t, err, "57P01", "access was granted", "apr-1", "connect again")
		for range 300 {
			if got := direct(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(61)%' AND state = 'active'"); got[0][0] == "0" {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatal("the statement still runs at the server")
	})
	t.Run("a session that was denied reads why, and leases nothing", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, WaitSeconds: 60}}
		})
		s.set(func() { s.leaseErr = errors.New("nothing may be leased here") })
		got := make(chan error, 1)
		go func() { _, err := s.tryConnect("", nil); got <- err }()
		s.desk.Next(t, 1)
		s.desk.Decide(1, "Denied", "not this week")
		wantError(t, <-got, "42501", "apr-1", "not this week", "Connect again")
	})
	t.Run("a session that is not waited for is refused with the request's name", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1}}
		})
		_, err := s.tryConnect("", nil)
		wantError(t, err, "42501", "apr-1", "once the request is approved")
		s.desk.Decide(1, "Approved", "")
		rows(t, s.connect(t, ""), "SELECT 1")
	})
	t.Run("who hangs up while a session is asked for is not waited for", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{Approval: &policy.Approval{Required: 1, WaitSeconds: 60}}
		})
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(startup(3<<16, "user", "any", "database", "app")); err != nil {
			t.Fatal(err)
		}
		s.desk.Next(t, 1)
		conn.Close()
		s.log.Find(record.KindDisconnect, nil)
		if s.desk.Withdrawn(1) != 1 {
			t.Fatal("it still waits")
		}
	})
	t.Run("what is not understood can be approved, and runs with nothing of it clear", func(t *testing.T) {
		pg := masked(policy.MaskRedact)
		pg.Unrecognised = policy.RequireApproval
		s := newSidecar(t, pg)
		conn := s.connect(t, "")
		done := later(conn, "SELECT '"+string([]byte{0xc3, 0x28})+"'")
		ask := s.desk.Next(t, 1)
		if !utf8.ValidString(ask.Text) || ask.Verdict.Rule != policy.RuleUnrecognised {
			t.Fatalf("asked %+v", ask)
		}
		s.desk.Decide(1, "Approved", "")
		e := wantError(t, await(t, done).err, "22021")
		if !strings.Contains(e.Message, "withheld") {
			t.Fatalf("said %q", e.Message)
		}
		rows(t, conn, "SELECT 1")
	})
}

func TestRecordingFailures(t *testing.T) {
	t.Run("a statement that cannot be recorded does not run", func(t *testing.T) {
		s := newSidecar(t, allowAll())
		conn := s.connect(t, "")
		s.log.Fails(errors.New("the spool is full"), nil)
		_, err := query(conn, "SELECT 1")
		wantError(t, err, "58000", "the spool is full")
		s.log.Fails(nil, nil)
		rows(t, conn, "SELECT 1")
	})
	t.Run("Acknowledged: writes wait for the operator, reads do not", func(t *testing.T) {
		s := newSidecar(t, allowAll(), func(p *policy.Policy) { p.Recording.Durability = policy.Acknowledged })
		conn := s.connect(t, "")
		s.log.Fails(nil, errors.New("the operator does not acknowledge"))
		rows(t, conn, "SELECT 1")
		_, err := query(conn, "INSERT INTO scratch VALUES (40, 'x')")
		wantError(t, err, "58000", "does not acknowledge")
		k := talk(t, s.connect(t, ""))
		k.send(parse("", "INSERT INTO scratch VALUES (41, 'x')"), bind("", ""), execute("", 0), syncing)
		if got := k.until("Z", 1); got != "1 2 E(58000) Z(I)" {
			t.Fatal(got)
		}
		if got := direct(t, "SELECT count(*) FROM scratch WHERE id IN (40, 41)"); got[0][0] != "0" {
			t.Fatal("it ran")
		}
	})
}
