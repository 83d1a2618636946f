package record

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestEveryHourIsALogOfItsOwnInWhichConnectionsGoOn(t *testing.T) {
	o := newOperator()
	var clock atomic.Int64
	clock.Store(time.Date(2026, 9, 30, 10, 59, 59, 0, time.UTC).UnixNano())
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Now = func() time.Time { return time.Unix(0, clock.Load()) } })
	first, second := s.Log(testOptions(policy.Block)).Recorder(), s.Log(testOptions(policy.Block)).Recorder()
	for _, c := range []*Connection{first, second} {
		if err := c.Record(Event{Kind: KindConnect, Peer: "db"}); err != nil {
			t.Fatal(err)
		}
	}
	say(t, first, "before")
	clock.Add(int64(time.Second))
	say(t, second, "after")
	say(t, first, "after too")
	if err := first.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	logs := o.events(t)
	want := [][]string{
		{"connect", "connect", "command before", "end"},
		{"connect", "command after", "connect", "command after too", "disconnect", "end"},
	}
	if len(logs) != 2 || !slices.Equal(texts(logs[0]), want[0]) || !slices.Equal(texts(logs[1]), want[1]) {
		t.Fatalf("got %v", logs)
	}
	if e := logs[1][0]; e.Connection != 1 || e.Peer != "db" || e.Time != 0 {
		t.Errorf("the connection that goes on is %+v", e)
	}
	if e := logs[1][3]; e.Connection != 2 {
		t.Errorf("the other connection is %+v", e)
	}
	for i, h := range o.heads() {
		if h.State != Complete {
			t.Errorf("log %d is %s", i, h.State)
		}
	}
	if starts := o.logs[o.order[1]].meta.Start; starts.Minute() != 0 || starts.Hour() != 11 {
		t.Errorf("the second log starts at %s", starts)
	}
}

func TestALogInWhichNothingHappensAnyMoreIsClosedWhenItsHourIsOver(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	s.period = 300 * time.Millisecond
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "x")
	eventually(t, "the end", func() bool { h := o.heads(); return len(h) == 1 && h[0].State == Complete })
}

func TestATerminalHasALogOfItsOwn(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	options := testOptions(policy.Block)
	say(t, s.Log(options).Recorder(), "SELECT 1")
	options.Terminal = true
	for range 2 {
		c := s.Log(options).Recorder()
		if err := c.Record(Event{Kind: KindConnect}); err != nil {
			t.Fatal(err)
		}
		if err := c.Record(Event{Kind: KindOutput, Data: "$ "}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both terminals", func() bool {
		complete := 0
		for _, h := range o.heads() {
			if h.State == Complete {
				complete++
			}
		}
		return complete == 2
	})
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if len(s.logs) != 1 {
		t.Errorf("%d logs are remembered", len(s.logs))
	}
	terminals := 0
	for _, l := range o.logs {
		if l.meta.Terminal {
			terminals++
		}
	}
	if len(o.logs) != 3 || terminals != 2 {
		t.Errorf("%d logs, %d of terminals", len(o.logs), terminals)
	}
}

func TestLongOutputIsSeveralEventsAndNoCharacterIsCut(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	long := ""
	for len(long) < 3*maxData {
		long += "ä☕x"
	}
	if err := c.Record(Event{Kind: KindOutput, Stream: "stdout", Data: long}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range o.events(t)[0] {
		if e.Kind == KindOutput && e.Stream != "stdout" {
			t.Errorf("an event of stream %q", e.Stream)
		}
		got += e.Data
	}
	if got != long {
		t.Errorf("%d bytes became %d", len(long), len(got))
	}
}
