package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// leftover is the spool of a sidecar that recorded three chunks, reached no operator, and died.
func leftover(t *testing.T) (dir, log string) {
	t.Helper()
	o := newOperator()
	o.down = errors.New("down")
	dir = t.TempDir()
	s := openSpool(t, dir, o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	for n := range 3 {
		say(t, c, fmt.Sprint(n))
		c.log.appending.Lock()
		c.log.chain.cut(c.log)
		c.log.appending.Unlock()
	}
	say(t, c, "in memory")
	log = c.log.chain.meta.Log
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied, log
}

// revive opens a copy of a spool that was changed, and returns what an operator then gets.
func revive(t *testing.T, dir string, o *operator, change func(dir string)) *operator {
	t.Helper()
	copied, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	change(copied)
	s, err := Open(Options{Dir: copied, Budget: 1 << 20, Uplink: o, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if used, _ := s.Used(); used != 0 {
		t.Fatalf("%d bytes are still taken", used)
	}
	if entries, err := os.ReadDir(copied); err != nil || len(entries) != 0 {
		t.Fatalf("%v is left, %v", entries, err)
	}
	return o
}

func truncate(t *testing.T, size int64, name ...string) {
	t.Helper()
	if err := os.Truncate(filepath.Join(name...), size); err != nil {
		t.Fatal(err)
	}
}

func sizeOf(t *testing.T, name ...string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(name...))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// checkRecovered wants the first n of the commands, and the end that says what happened.
func checkRecovered(t *testing.T, what string, o *operator, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("command %d", i))
	}
	want = append(want, "end: "+stopped)
	logs := o.events(t)
	if len(logs) != 1 || !slices.Equal(texts(logs[0]), want) {
		t.Fatalf("%s: got %v, want %v", what, logs, want)
	}
	if h := o.heads()[0]; h.State != Truncated {
		t.Fatalf("%s: the log is %s", what, h.State)
	}
}

func TestASpoolThatIsCutAtAnyByteIsSentUpToItsLastWholeChunk(t *testing.T) {
	dir, log := leftover(t)
	checkRecovered(t, "nothing is cut", revive(t, dir, newOperator(), func(string) {}), 3)
	for chunk := range 3 {
		name := ChunkObject(uint64(chunk))
		for size := range sizeOf(t, dir, log, name) {
			o := revive(t, dir, newOperator(), func(dir string) { truncate(t, size, dir, log, name) })
			checkRecovered(t, fmt.Sprintf("%s has %d bytes", name, size), o, chunk)
		}
	}
}

func TestAChunkThatWasBeingWrittenDoesNotCount(t *testing.T) {
	dir, log := leftover(t)
	last := filepath.Join(log, ChunkObject(2))
	for size := range sizeOf(t, dir, last) + 1 {
		o := revive(t, dir, newOperator(), func(dir string) {
			truncate(t, size, dir, last)
			if err := os.Rename(filepath.Join(dir, last), filepath.Join(dir, last+unfinishedExt)); err != nil {
				t.Fatal(err)
			}
		})
		checkRecovered(t, fmt.Sprintf("the unfinished chunk has %d bytes", size), o, 2)
	}
}

func TestALogThatWasBeingOpenedOrWhoseDescriptionIsTornIsNotSent(t *testing.T) {
	dir, log := leftover(t)
	o := revive(t, dir, newOperator(), func(dir string) {
		if err := os.Rename(filepath.Join(dir, log), filepath.Join(dir, log+unfinishedExt)); err != nil {
			t.Fatal(err)
		}
	})
	if len(o.logs) != 0 {
		t.Errorf("got %v", o.events(t))
	}
	for size := range sizeOf(t, dir, log, spoolMeta) {
		if o := revive(t, dir, newOperator(), func(dir string) { truncate(t, size, dir, log, spoolMeta) }); len(o.logs) != 0 {
			t.Fatalf("a description of %d bytes: got %v", size, o.events(t))
		}
	}
}

func TestALogIsClosedEvenIfItsReserveWasHalfWritten(t *testing.T) {
	dir, log := leftover(t)
	for _, size := range []int64{0, 1, 100, block} {
		o := revive(t, dir, newOperator(), func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, log, spoolReserve), []byte(strings.Repeat("x", int(size))), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		checkRecovered(t, fmt.Sprintf("the reserve has %d bytes", size), o, 3)
	}
	o := revive(t, dir, newOperator(), func(dir string) {
		if err := os.Remove(filepath.Join(dir, log, spoolReserve)); err != nil {
			t.Fatal(err)
		}
	})
	checkRecovered(t, "there is no reserve", o, 3)
}

func TestChunksThatTheOperatorHasAreNotSentAgain(t *testing.T) {
	dir, log := leftover(t)
	first := newOperator()
	revive(t, dir, first, func(dir string) { // it got two chunks of the life before
		for _, name := range []string{ChunkObject(2)} {
			if err := os.Remove(filepath.Join(dir, log, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	two := newOperator()
	two.logs[log] = &received{meta: first.logs[log].meta, chunks: first.logs[log].chunks[:2]}
	for _, c := range first.logs[log].chunks[:2] {
		if err := two.logs[log].verifier.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	two.order = []string{log}
	checkRecovered(t, "two chunks are known", revive(t, dir, two, func(dir string) {
		if err := os.Remove(filepath.Join(dir, log, ChunkObject(0))); err != nil { // dropped when it was acknowledged
			t.Fatal(err)
		}
	}), 3)
}

func TestAnOperatorThatWantsWhatIsGoneEndsTheLog(t *testing.T) {
	dir, log := leftover(t)
	o := revive(t, dir, newOperator(), func(dir string) {
		if err := os.Remove(filepath.Join(dir, log, ChunkObject(0))); err != nil {
			t.Fatal(err)
		}
	})
	if len(o.logs[log].chunks) != 0 {
		t.Errorf("got %v", o.events(t))
	}
}

func TestWhatIsNoLogIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "lost+found")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, dir, newOperator())
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}
