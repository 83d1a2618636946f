package record

import (
	"errors"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestWhatHasRunIsKeptThoughOthersTookTheRoomSince(t *testing.T) {
	o := newOperator()
	o.down = errors.New("the operator is down")
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 256 << 10 })
	l := s.Log(testOptions(policy.Block))
	first, other := l.Recorder(), l.Recorder()
	say(t, first, "begin")
	if !first.Ready(1) {
		t.Fatal("a spool with room is not ready")
	}
	if first.Ready(5) {
		t.Error("a spool of 256 KiB is ready for five events of 64")
	}
	if _, err := fillUp(t, other); !errors.Is(err, ErrNotKept) {
		t.Fatal(err)
	}
	first.Keep(Event{Kind: KindCommand, Text: "ran " + noise(40<<10), Verdict: "Allow"})
	if first.Ready(1) {
		t.Error("a full spool is ready")
	}
	if err := first.Record(Event{Kind: KindCommand, Text: noise(2000)}); !errors.Is(err, ErrNotKept) {
		t.Errorf("a full spool takes one more: %v", err)
	}
	o.set(func() { o.down = nil })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, text := range texts(o.events(t)[0]) {
		found = found || strings.HasPrefix(text, "command ran ")
	}
	if !found {
		t.Error("what ran is not in the log")
	}
	if used, _ := s.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestALogIsNotReady(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *Spool, l *Log, c *Connection){
		"before a connection's first event": func(*testing.T, *Spool, *Log, *Connection) {},
		"while events are missing from it": func(t *testing.T, _ *Spool, l *Log, c *Connection) {
			say(t, c, "x")
			l.appending.Lock()
			defer l.appending.Unlock()
			_ = l.lose(errFull)
		},
		"while its volume fails": func(t *testing.T, _ *Spool, l *Log, c *Connection) {
			say(t, c, "x")
			err := errors.New("no space left on device")
			l.chain.failure.Store(&err)
			t.Cleanup(func() { l.chain.failure.Store(nil) })
		},
		"when its hour is over": func(t *testing.T, _ *Spool, l *Log, c *Connection) {
			say(t, c, "x")
			l.expire(l.chain)
		},
		"when the operator can take no more of it": func(t *testing.T, _ *Spool, l *Log, c *Connection) {
			say(t, c, "x")
			l.chain.abandoned.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSpool(t, t.TempDir(), newOperator())
			l := s.Log(testOptions(policy.Block))
			c := l.Recorder()
			prepare(t, s, l, c)
			if c.Ready(1) {
				t.Error("is ready")
			}
		})
	}
}

func TestWhatHasRunGoesToTheNextHoursLogWhereItsOwnHasEnded(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	l := s.Log(testOptions(policy.Block))
	c := l.Recorder()
	say(t, c, "before")
	if !c.Ready(1) {
		t.Fatal("is not ready")
	}
	l.expire(l.chain)
	c.Keep(Event{Kind: KindCommand, Text: "ran", Verdict: "Allow"})
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	logs := o.events(t)
	if len(logs) != 2 || texts(logs[1])[0] != "command ran" {
		t.Errorf("got %v", logs)
	}
}
