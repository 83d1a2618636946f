package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func testLogger(t testing.TB) logr.Logger {
	var mu sync.Mutex
	done := false
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		done = true
	})
	return funcr.New(func(_, args string) {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			t.Log(args)
		}
	}, funcr.Options{Verbosity: 1})
}

func openSpool(t testing.TB, dir string, o Uplink, change ...func(*Options)) *Spool {
	t.Helper()
	options := Options{Dir: dir, Budget: 1 << 20, Uplink: o, Log: testLogger(t)}
	for _, c := range change {
		c(&options)
	}
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ctx) // most tests have closed it
	})
	return s
}

func testOptions(onFailure policy.OnFailure) LogOptions {
	return LogOptions{Target: "billing", Protocol: "postgres", Policies: []string{"agents/a"}, User: "u", OnFailure: onFailure}
}

func say(t testing.TB, c *Connection, text string) {
	t.Helper()
	if err := c.Record(Event{Kind: KindCommand, Text: text, Verdict: "Allow"}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func spoolFiles(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := os.CopyFS(t.TempDir(), os.DirFS(dir)) // it is readable whole
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestConnectionsOfATargetShareOneLogThatIsCompleteWhenItIsClosed(t *testing.T) {
	o, dir := newOperator(), t.TempDir()
	s := openSpool(t, dir, o)
	for n := range 3 {
		c := s.Log(testOptions(policy.Block)).Recorder()
		if err := c.Record(Event{Kind: KindConnect, Peer: "10.0.0.1:5432"}); err != nil {
			t.Fatal(err)
		}
		say(t, c, fmt.Sprintf("SELECT %d", n))
		if err := c.Record(Event{Kind: KindResult, Rows: 2, Bytes: 10, Masked: 1}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	logs := o.events(t)
	want := []string{
		"connect", "command SELECT 0", "result", "disconnect",
		"connect", "command SELECT 1", "result", "disconnect",
		"connect", "command SELECT 2", "result", "disconnect", "end",
	}
	if len(logs) != 1 || !slices.Equal(texts(logs[0]), want) {
		t.Fatalf("got %v", logs)
	}
	for i, e := range logs[0][:12] {
		if e.Connection != uint32(i/4+1) || e.Time < 0 || e.Time > 60 {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if h := o.heads()[0]; h.State != Complete {
		t.Errorf("the log is %s", h.State)
	}
	log := o.logs[o.order[0]]
	if want := (Counts{Connections: 3, Commands: 3, Rows: 6, Bytes: 30, Masked: 3}); log.verifier.Counts() != want {
		t.Errorf("counts are %+v", log.verifier.Counts())
	}
	if m := log.meta; m.Target != "billing" || m.Protocol != "postgres" || m.User != "u" || !ValidLogID(m.Log) || m.Start.IsZero() {
		t.Errorf("meta is %+v", m)
	}
	if names := spoolFiles(t, dir); len(names) != 0 {
		t.Errorf("%v are left in the spool", names)
	}
	if used, _ := s.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestFlushReturnsOnceTheOperatorHasEverything(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatalf("nothing was recorded: %v", err)
	}
	for n := range 5 {
		say(t, c, fmt.Sprint(n))
		if err := c.Flush(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if got := o.events(t)[0]; len(got) != n+1 || got[n].Text != fmt.Sprint(n) {
			t.Fatalf("after flush %d the operator has %v", n, texts(got))
		}
	}
}

func TestFlushSaysWhyTheOperatorDoesNotAnswer(t *testing.T) {
	o := newOperator()
	o.down = errors.New("no route to host")
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "x")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	err := c.Flush(ctx)
	if !errors.Is(err, ErrNotKept) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no route to host") {
		t.Fatalf("got %v", err)
	}
	o.set(func() { o.down = nil })
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatalf("after the operator came back: %v", err)
	}
	if _, trouble := s.Used(); trouble != nil {
		t.Errorf("still %v", trouble)
	}
}

func TestEventsAreOnTheirWayWithinASecond(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	began := time.Now()
	say(t, c, "x")
	eventually(t, "the event", func() bool { return len(o.heads()) == 1 && o.heads()[0].Chunks == 1 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestChunksAreCutBySize(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 64 << 20 })
	c := s.Log(testOptions(policy.Block)).Recorder()
	text := strings.Repeat("x", 1000)
	for range 2000 {
		say(t, c, text)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := o.heads()[0].Chunks; n < 8 || n > 12 {
		t.Errorf("2 MB are %d chunks", n)
	}
	if got := o.events(t)[0]; len(got) != 2001 {
		t.Errorf("%d events arrived", len(got))
	}
}

func TestManyConnectionsAtOnceLoseNothing(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 64 << 20 })
	var wg sync.WaitGroup
	const connections, commands = 8, 3000
	for range connections {
		wg.Go(func() {
			c := s.Log(testOptions(policy.Block)).Recorder()
			for n := range commands {
				if err := c.Record(Event{Kind: KindCommand, Command: uint64(n + 1), Text: strings.Repeat("y", 100), Verdict: "Allow"}); err != nil {
					t.Error(err)
					return
				}
				if n%500 == 0 {
					if err := c.Flush(testContext(t)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	next := map[uint32]uint64{}
	for _, e := range o.events(t)[0] {
		if e.Kind != KindCommand {
			continue
		}
		next[e.Connection]++
		if e.Command != next[e.Connection] {
			t.Fatalf("connection %d: command %d is followed by %d", e.Connection, next[e.Connection]-1, e.Command)
		}
	}
	if len(next) != connections || next[1] != commands {
		t.Errorf("got %v", next)
	}
}

func TestAStreamThatBreaksIsOpenedAgainAndGoesOnWhereItWas(t *testing.T) {
	for name, breaks := range map[string]func(*operator){
		"before a chunk arrived":        func(o *operator) { o.breaks = 1 },
		"after two chunks":              func(o *operator) { o.breaks = 3 },
		"with acknowledgements on hold": func(o *operator) { o.forget = true },
	} {
		o := newOperator()
		s := openSpool(t, t.TempDir(), o)
		c := s.Log(testOptions(policy.Block)).Recorder()
		say(t, c, "0")
		if err := c.Flush(testContext(t)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o.set(func() { breaks(o) })
		for n := range 4 {
			say(t, c, fmt.Sprint(n+1))
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			_ = c.Flush(ctx) // to cut a chunk; the stream may break at it
			cancel()
		}
		o.set(func() { o.forget = false })
		if err := s.Close(testContext(t)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []string{"command 0", "command 1", "command 2", "command 3", "command 4", "end"}
		if got := o.events(t)[0]; !slices.Equal(texts(got), want) {
			t.Errorf("%s: got %v", name, texts(got))
		}
		if o.streams < 2 {
			t.Errorf("%s: the stream never broke", name)
		}
	}
}

func TestAStreamThatIsEndedWhileNothingHappensIsNotOpenedAgainUntilSomethingDoes(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "before")
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	o.set(func() {
		for _, open := range o.open {
			open.once.Do(func() { close(open.broken) })
		}
	})
	time.Sleep(500 * time.Millisecond)
	if _, trouble := s.Used(); trouble != nil || o.streams != 1 {
		t.Errorf("%d streams were opened, trouble: %v", o.streams, trouble)
	}
	say(t, c, "after")
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := texts(o.events(t)[0]); !slices.Equal(got, []string{"command before", "command after"}) || o.streams != 2 {
		t.Errorf("%d streams, %v", o.streams, got)
	}
}

func TestAnOperatorThatRefusesALogDoesNotBlockTheNext(t *testing.T) {
	o := newOperator()
	o.down = fmt.Errorf("%w: bad", ErrRefused)
	dir := t.TempDir()
	s := openSpool(t, dir, o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "given up")
	if err := c.Flush(testContext(t)); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
	o.set(func() { o.down = nil })
	eventually(t, "giving up", func() bool { return c.log.chain.abandoned.Load() })
	say(t, c, "kept")
	if err := c.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := o.events(t)
	if len(got) != 1 || len(got[0]) != 2 || got[0][0].Kind != KindLost || got[0][1].Text != "kept" ||
		!strings.HasPrefix(got[0][0].Error, "1 event is missing") || !strings.Contains(got[0][0].Error, "refuses the log: bad") {
		t.Errorf("got %v", got)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if used, _ := s.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestAnOperatorThatNeverAnswersIsGivenUpByTheCommandNotByTheSpool(t *testing.T) {
	o := newOperator()
	o.mute = true
	dir := t.TempDir()
	s := openSpool(t, dir, o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "x")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if len(spoolFiles(t, dir)) != 1 {
		t.Error("the spool does not hold the log any more")
	}
}

func TestNothingIsRecordedAfterTheEnd(t *testing.T) {
	s := openSpool(t, t.TempDir(), newOperator())
	l := s.Log(testOptions(policy.Block))
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{l, s.Log(LogOptions{Target: "other"})} {
		if err := l.Recorder().Record(Event{Kind: KindCommand}); !errors.Is(err, ErrNotKept) {
			t.Errorf("got %v", err)
		}
	}
}
