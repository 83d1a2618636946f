package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

func TestEveryFieldOfARefusalIsFilledIn(t *testing.T) {
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "no-drop", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny, Message: "ask the owner of the tables"}}
	conn := newSidecar(t, pg).connect(t, "")
	for how, err := range map[string]error{
		"a simple query":     second(query(conn, "DROP TABLE customers")),
		"a query's values":   extended(conn, "DROP TABLE customers"),
		"one of two at once": second(query(conn, "SELECT 1; DROP TABLE customers")),
	} {
		e := wantError(t, err, "42501")
		want := pgconn.PgError{
			Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42501", Message: "ask the owner of the tables",
			Detail: `policy prod/billing (generation 3), rule "no-drop"`,
			Hint:   "The statement did not run and the session goes on. To be allowed it, ask the policy's owner to change the rule.",
		}
		if *e != want {
			t.Errorf("%s: got %+v, want %+v", how, *e, want)
		}
	}
	rows(t, conn, "SELECT 1")
}

func second(_ [][]string, err error) error { return err }

func TestAStatementIsNotHeldLongerThanItsRuleSays(t *testing.T) {
	const update = "UPDATE scratch SET body = 'held'"
	s := newSidecar(t, unfiltered(1, "Refuse"))
	k := talk(t, s.connect(t, ""))
	k.send(q(update), q("SELECT 1"))
	if got := k.until("Z", 2); got != "N(waiting for approval: request apr-1) E(42501) Z(I) T(1) D(1) C(SELECT 1) Z(I)" {
		t.Fatal(got)
	}
	conn := s.connect(t, "")
	wantError(t, second(query(conn, update)), "42501", "request apr-1", "waiting for approval", "the same statement with the same values again once it is approved")
	s.desk.Decide(1, "Approved", "")
	rows(t, conn, update)
	wantError(t, second(query(conn, update)), "42501", "request apr-2")
}

func TestWhatIsCancelledAsItWaitsEndsCleanlyInAPipeline(t *testing.T) {
	s := newSidecar(t, unfiltered(600, "Refuse"))
	conn := s.connect(t, "")
	pid, key := conn.PID(), conn.SecretKey()
	k := talk(t, conn)
	update := func(body string) script {
		return script{parse("", "UPDATE scratch SET body = $1"), bind("", "", body), execute("", 0), parse("", "SELECT 2"), bind("", ""), execute("", 0), syncing,
			parse("", "SELECT 3"), bind("", ""), execute("", 0), syncing}
	}
	for i := range 2 {
		k.send(update(fmt.Sprint("cancelled ", i))...)
		s.desk.Next(t, i+1)
		s.sendCancel(t, "in clear", pid, key)
		if got, want := k.until("Z", 2), fmt.Sprintf("1 N(waiting for approval: request apr-%d) E(57014) Z(I) 1 2 D(3) C(SELECT 1) Z(I)", i+1); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	s.sendCancel(t, "in clear", pid, key) // of nothing
	// The request stays, and the same values run once it is approved.
	s.desk.Decide(1, "Approved", "")
	k.send(update("cancelled 0")...)
	if got := k.until("Z", 2); got != "1 2 C(UPDATE 0) 1 2 D(2) C(SELECT 1) Z(I) 1 2 D(3) C(SELECT 1) Z(I)" {
		t.Fatal(got)
	}
}

// TestAnAgentIsHeldBackWhileItsStatementWaits sends far more than anything in between may keep.
func TestAnAgentIsHeldBackWhileItsStatementWaits(t *testing.T) {
	const flood = 256 << 20
	s := newSidecar(t, unfiltered(600, "Refuse"))
	k := talk(t, s.connect(t, ""))
	k.send(q("UPDATE scratch SET body = 'held back'"))
	s.desk.Next(t, 1)
	one, err := (&pgproto3.Query{String: "SELECT 1 -- " + strings.Repeat("x", 1000)}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	sent, part := 0, 0
	for sent < flood {
		k.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		n, err := k.conn.Write(one[part:])
		sent, part = sent+n, (part+n)%len(one)
		var stalled net.Error
		if errors.As(err, &stalled) && stalled.Timeout() {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent >= flood {
		t.Fatalf("%d bytes were taken while the statement waited", sent)
	}
	s.desk.Decide(1, "Approved", "")
	// The rest of the statement that was cut short, and all answers, each in its turn.
	queries := sent / len(one)
	rest := make(chan error, 1)
	go func() {
		k.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		var err error
		if part > 0 {
			_, err = k.conn.Write(one[part:])
		}
		rest <- err
	}()
	if part > 0 {
		queries++
	}
	got := k.until("Z", 1+queries)
	if err := <-rest; err != nil {
		t.Fatal(err)
	}
	if want := "N(waiting for approval: request apr-1) C(UPDATE 0) Z(I)" + strings.Repeat(" T(1) D(1) C(SELECT 1) Z(I)", queries); got != want {
		t.Fatalf("%d bytes of answers, want %d", len(got), len(want))
	}
}

func TestAServerWithoutTLSIsRefusedWhereTheModeWantsIt(t *testing.T) {
	own, err := postgresserver.Start("ssl=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Stop() })
	for mode, connects := range map[policy.TLSMode]bool{policy.TLSDisable: true, policy.TLSRequire: false, policy.TLSVerifyCA: false, policy.TLSVerifyFull: false} {
		t.Run(string(mode), func(t *testing.T) {
			pg := allowAll()
			pg.TLSMode, pg.CAPEM = mode, own.Authority.PEM
			s := newSidecar(t, pg)
			s.dial(own.Address())
			s.lease.Store(&session.Lease{Username: postgresserver.Superuser, Password: own.Password})
			conn, err := s.tryConnect("dbname=postgres", nil)
			if connects {
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(context.Background())
				rows(t, conn, "SELECT 1")
				return
			}
			wantError(t, err, "08001", "billing", "TLS")
		})
	}
}
