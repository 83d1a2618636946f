package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// noise does not compress to less than half.
func noise(n int) string {
	b := make([]byte, n/2)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(b)
}

// fillUp records until the spool takes no more, and returns how many events it took.
func fillUp(t *testing.T, c *Connection) (taken int, err error) {
	t.Helper()
	for taken = range 10_000 {
		if err = c.Record(Event{Kind: KindCommand, Text: noise(2000), Verdict: "Allow"}); err != nil {
			return taken, err
		}
	}
	t.Fatal("the spool never fills")
	return 0, nil
}

func TestAFullSpoolBlocks(t *testing.T) {
	o := newOperator()
	o.down = errors.New("the operator is down")
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 256 << 10 })
	c := s.Log(testOptions(policy.Block)).Recorder()
	taken, err := fillUp(t, c)
	if taken < 50 || !errors.Is(err, ErrNotKept) || !strings.Contains(err.Error(), "spool is full") {
		t.Fatalf("%d events were taken, then %v", taken, err)
	}
	if used, _ := s.Used(); used > 256<<10 {
		t.Errorf("%d bytes are taken of 256 KiB", used)
	}
	if _, err := s.Log(LogOptions{Target: "other"}).Recorder(), c.Record(Event{Kind: KindCommand, Text: noise(2000)}); err == nil {
		t.Error("a full spool takes one more")
	}

	o.set(func() { o.down = nil })
	eventually(t, "room in the spool", func() bool { return c.Record(Event{Kind: KindCommand, Text: "after"}) == nil })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := texts(o.events(t)[0])
	if len(got) != taken+3 || !strings.HasPrefix(got[taken], "lost: ") || !strings.Contains(got[taken], "missing: the spool is full") ||
		got[taken+1] != "command after" || !strings.HasSuffix(got[taken+2], "missing") {
		t.Errorf("%d events were taken, then %v", taken, got[min(taken, len(got)):])
	}
	if h := o.heads()[0]; h.State != Truncated {
		t.Errorf("a log with a gap is %s", h.State)
	}
	if used, _ := s.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestAFullSpoolThatContinuesSaysHowManyAreMissing(t *testing.T) {
	o := newOperator()
	o.down = errors.New("the operator is down")
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 128 << 10 })
	c := s.Log(testOptions(policy.Continue)).Recorder()
	const events = 400
	for n := range events {
		if err := c.Record(Event{Kind: KindCommand, Command: uint64(n + 1), Text: noise(2000), Verdict: "Allow"}); err != nil {
			t.Fatalf("event %d: %v", n, err)
		}
	}
	o.set(func() { o.down = nil })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := o.events(t)[0]
	kept := 0
	for kept < len(got) && got[kept].Kind == KindCommand {
		kept++
	}
	want := []string{
		fmt.Sprintf("lost: %d events are missing: the spool is full", events-kept),
		fmt.Sprintf("end: %d events are missing", events-kept),
	}
	if rest := texts(got[kept:]); kept == 0 || kept == events || !slices.Equal(rest, want) {
		t.Errorf("%d events were kept, then %v", kept, rest)
	}
	if h := o.heads()[0]; h.State != Truncated {
		t.Errorf("a log with a gap is %s", h.State)
	}
}

func TestAFullSpoolOpensNoFurtherLog(t *testing.T) {
	o := newOperator()
	o.down = errors.New("down")
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = closingRoom - 1 })
	if err := s.Log(testOptions(policy.Block)).Recorder().Record(Event{Kind: KindConnect}); !errors.Is(err, ErrNotKept) {
		t.Errorf("got %v", err)
	}
	l := s.Log(LogOptions{Target: "lenient", OnFailure: policy.Continue})
	if err := l.Recorder().Record(Event{Kind: KindConnect}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAPolicyThatChangesFromBlockToContinueHoldsAtOnce(t *testing.T) {
	o := newOperator()
	o.down = errors.New("down")
	s := openSpool(t, t.TempDir(), o, func(o *Options) { o.Budget = 64 << 10 })
	c := s.Log(testOptions(policy.Block)).Recorder()
	if _, err := fillUp(t, c); err == nil {
		t.Fatal("the spool is not full")
	}
	s.Log(testOptions(policy.Continue))
	if err := c.Record(Event{Kind: KindCommand, Text: noise(2000)}); err != nil {
		t.Errorf("got %v", err)
	}
}

// A volume that is really full, with a budget that promises more than there is.
func TestALogIsClosedInItsReserveWhenTheVolumeIsFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small volume needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	o := newOperator()
	o.down = errors.New("the operator is down")
	s := openSpool(t, dir, o, func(o *Options) { o.Budget = 8 << 20 })
	c := s.Log(testOptions(policy.Block)).Recorder()
	var err error
	n := 0
	for ; err == nil && n < 10_000; n++ {
		if err = c.Record(Event{Kind: KindCommand, Text: noise(2000), Verdict: "Allow"}); n%16 == 0 {
			c.log.appending.Lock()
			c.log.chain.cut(c.log)
			c.log.appending.Unlock()
		}
	}
	if !errors.Is(err, ErrNotKept) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d events: %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rest"), bytes.Repeat([]byte{1}, 256<<10), 0o600); err == nil {
		t.Fatal("the volume is not full")
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		o.set(func() { o.down = nil })
	}()
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := texts(o.events(t)[0])
	last := got[len(got)-1]
	if !strings.HasPrefix(last, "end: ") || !strings.Contains(last, "no space left on device") || o.heads()[0].State != Truncated {
		t.Errorf("the log ends with %v", got[len(got)-2:])
	}
	if entries := spoolFiles(t, dir); len(entries) > 1 {
		t.Errorf("%v are left", entries)
	}
}

func TestAVolumeThatHasRoomAgainGetsWhatWasStuck(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mounting a small volume needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	o := newOperator()
	s := openSpool(t, dir, o, func(o *Options) { o.Budget = 8 << 20 })
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "first")
	rest := filepath.Join(dir, "rest")
	if err := os.WriteFile(rest, bytes.Repeat([]byte{1}, 512<<10), 0o600); err == nil {
		t.Fatal("the volume is not full")
	}
	if err := c.Flush(testContext(t)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if err := c.Record(Event{Kind: KindCommand}); !errors.Is(err, ErrNotKept) {
		t.Fatalf("got %v", err)
	}
	if err := os.Remove(rest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recording", func() bool { return c.Record(Event{Kind: KindCommand, Text: "second"}) == nil })
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := texts(o.events(t)[0])
	if got[0] != "command first" || !strings.HasPrefix(got[1], "lost: ") || got[2] != "command second" {
		t.Errorf("got %v", got)
	}
	if used, _ := s.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}
