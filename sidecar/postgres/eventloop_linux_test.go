package postgres

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// patience is how long anything may take that has to happen.
const patience = time.Minute

// onLoop calls f on the loop's thread with each of its sessions, until it says that it has seen enough.
func onLoop(t *testing.T, s *sidecar, what string, f func(*looped) bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		seen := make(chan bool, 1)
		s.loop.post(func() {
			for l := range s.loop.sessions {
				if f(l) {
					seen <- true
					return
				}
			}
			seen <- false
		})
		if <-seen {
			return
		}
	}
	t.Fatal("never seen: " + what)
}

// held has whoever records a text that holds the word wait. entered tells that it does.
func held(t *testing.T, s *sidecar, word string) (entered chan struct{}, release func()) {
	t.Helper()
	entered, released := make(chan struct{}), make(chan struct{})
	s.log.Before(func(e record.Event) {
		if strings.Contains(e.Text, word) {
			close(entered)
			<-released
		}
	})
	done := false
	release = func() {
		if !done {
			done = true
			close(released)
		}
	}
	t.Cleanup(release)
	return entered, release
}

func reached(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("never happened: " + what)
	}
}

func onlyEventLoop(t *testing.T) {
	t.Helper()
	if underTest != EventLoop {
		t.Skip("about the event loop")
	}
}

const long = 10 << 10 // of a statement that is judged apart

func TestJudgingHoldsUpNoOtherSession(t *testing.T) {
	onlyEventLoop(t)
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "no-drops", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny}}
	s := newSidecar(t, pg)
	k, other := talk(t, s.connect(t, "")), s.connect(t, "")
	entered, release := held(t, s, "slowly judged")
	k.send(q("DROP TABLE scratch"), q("SELECT 1 -- slowly judged "+strings.Repeat("x", long)))
	reached(t, "the second statement is judged, behind a refusal that waited for its record", entered)
	rows(t, other, "SELECT 1")
	release()
	if got := k.until("Z", 2); got != "E(42501) Z(I) T(1) D(1) C(SELECT 1) Z(I)" {
		t.Fatal(got)
	}
}

func TestGarbageIsCollectedWhileTheLoopWaits(t *testing.T) {
	onlyEventLoop(t)
	s := newSidecar(t, allowAll())
	conn := s.connect(t, "")
	for range 50 { // each leaves the loop in a wait that only the runtime's signal can end
		rows(t, conn, "SELECT 1")
		collected := make(chan struct{})
		go func() {
			runtime.GC()
			close(collected)
		}()
		reached(t, "the end of a collection", collected)
	}
}

func TestNothingIsSentOnceASessionIsInterrupted(t *testing.T) {
	onlyEventLoop(t)
	s := newSidecar(t, allowAll())
	conn := s.connect(t, "application_name=interrupted")
	entered, release := held(t, s, "after the end")
	done := later(conn, "INSERT INTO scratch VALUES (4711, 'after the end') /* "+strings.Repeat("x", long)+" */")
	reached(t, "the statement is judged", entered)
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	onLoop(t, s, "the interruption", func(l *looped) bool { return l.cause != nil })
	release()
	wantError(t, await(t, done).err, "57P01", "stopping")
	reached(t, "the sidecar's end", stopped)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if got := direct(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'interrupted'"); got[0][0] == "0" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the session never ended at the server")
		}
	}
	if got := direct(t, "SELECT count(*) FROM scratch WHERE id = 4711"); got[0][0] != "0" {
		t.Fatal("a statement ran that was sent after its session had been interrupted")
	}
}

func TestAgentThatDoesNotRead(t *testing.T) {
	onlyEventLoop(t)
	const statements, message = 8000, 4 << 10 // 32 MiB of refusals
	pg := allowAll()
	pg.Rules = []policy.Rule{{Name: "no-drops", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny, Message: strings.Repeat("no ", message/3)}}
	for _, mode := range []string{"disable", "require"} {
		t.Run("sslmode="+mode+": what it is not told yet is bounded, and all of it arrives", func(t *testing.T) {
			s := newSidecar(t, pg)
			conn := s.connect(t, "sslmode="+mode)
			k := talk(t, conn)
			written := make(chan error, 1)
			go func() {
				for range statements {
					k.front.Send(q("DROP TABLE x"))
				}
				written <- k.front.Flush()
			}()
			kept := 0
			onLoop(t, s, "the agent is not listened to", func(l *looped) bool {
				kept = l.toAgent.unsent()
				return kept >= maxUnread && l.toAgent.interest&unix.EPOLLIN == 0 && !l.flushing && !l.elsewhere || kept > 2*maxUnread
			})
			if kept > maxUnread+4*message {
				t.Fatalf("%d bytes are kept", kept)
			}
			for i := range statements {
				if got := k.until("Z", 1); got != "E(42501) Z(I)" {
					t.Fatalf("answer %d: %s", i, got)
				}
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFaultEndsItsSessionAlone(t *testing.T) {
	onlyEventLoop(t)
	for name, text := range map[string]string{"on the loop": "", "apart": strings.Repeat("x", long)} {
		t.Run(name, func(t *testing.T) {
			s := newSidecar(t, allowAll())
			conn, other := s.connect(t, ""), s.connect(t, "")
			s.log.Before(func(e record.Event) {
				if strings.Contains(e.Text, "faulty") {
					panic("a fault")
				}
			})
			if _, err := query(conn, "SELECT 1 AS faulty -- "+text); err == nil || pgconn.Timeout(err) {
				t.Fatalf("got %v, want the end of the session", err)
			}
			rows(t, other, "SELECT 1")
			rows(t, s.connect(t, ""), "SELECT 1")
			ends := s.log.Find(record.KindDisconnect, func(e record.Event) bool { return e.Error == errBroken.Error() })
			if len(ends) != 1 {
				t.Fatalf("recorded %+v", ends)
			}
		})
	}
}

// The end of a long result is less than what the server's socket wakes for by then, and comes all the same.
func TestLongResultsAreGathered(t *testing.T) {
	onlyEventLoop(t)
	const number = 150_000
	for mode, sql := range map[string]string{
		"disable": "SELECT repeat('x', 1000) FROM generate_series(1, 150000)",
		"require": "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 150000)) TO STDOUT",
	} {
		t.Run("sslmode="+mode, func(t *testing.T) {
			s := newSidecar(t, allowAll())
			k := talk(t, s.connect(t, "sslmode="+mode))
			over := make(chan error, 1)
			read := 0
			k.send(q(sql))
			go func() {
				for {
					m, err := k.front.Receive()
					if _, idle := m.(*pgproto3.ReadyForQuery); idle || err != nil {
						over <- err
						return
					}
					read++
				}
			}()
			onLoop(t, s, "the server's socket wakes for more than a byte", func(l *looped) bool { return l.toServer.gathers && len(s.loop.gathering) == 1 })
			if err := <-over; err != nil || read < number {
				t.Fatalf("%d messages, then %v", read, err)
			}
			onLoop(t, s, "it wakes for every byte again", func(l *looped) bool { return !l.toServer.gathers && len(s.loop.gathering) == 0 })
			k.send(q("SELECT 1"))
			if got := k.until("Z", 1); got != "T(1) D(1) C(SELECT 1) Z(I)" {
				t.Fatal(got)
			}
		})
	}
}

// However many of them there are in a row: the end of each would wait for what the next one's beginning brings.
func TestShortResultsAreNotGathered(t *testing.T) {
	onlyEventLoop(t)
	s := newSidecar(t, allowAll())
	k := talk(t, s.connect(t, ""))
	const length = 40 << 10
	for range 2 * bulkAfter / length {
		k.send(q("SELECT repeat('x', 40960)"))
		k.until("Z", 1)
		onLoop(t, s, "no more has come without a pause than one result", func(l *looped) bool {
			return !l.toServer.gathers && l.toServer.streak < 2*length
		})
	}
}
