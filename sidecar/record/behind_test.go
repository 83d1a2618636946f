package record

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// While a chunk is being written, who records goes on: for the chunk that waits and the one that is open, and no further.
func TestWhoRecordsDoesNotWaitForTheDiskUntilAChunkWaits(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "first")
	var want []string
	recorded := 0
	record := func() {
		recorded++
		text := fmt.Sprintf("%d %s", recorded, noise(4000))
		want = append(want, "command "+text)
		if err := c.Record(Event{Kind: KindCommand, Text: text, Verdict: "Allow"}); err != nil {
			t.Error(err)
		}
	}
	free := slowDisk(c.log)
	for recorded < 2*chunkSize/4100 { // two chunks, nearly
		record()
	}
	blocked := make(chan struct{})
	go func() {
		defer close(blocked)
		for range chunkSize / 4000 {
			record()
		}
	}()
	select {
	case <-blocked:
		t.Error("recording goes on without end while nothing is written")
	case <-time.After(300 * time.Millisecond):
	}
	free()
	<-blocked
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	got := texts(o.events(t)[0])
	if got = got[1 : len(got)-1]; !slices.Equal(got, want) {
		t.Errorf("%d events came, %d were recorded, or in another order", len(got), len(want))
	}
}

// slowDisk is somebody who writes a chunk until free is called.
func slowDisk(l *Log) (free func()) {
	c := l.chain
	l.appending.Lock()
	c.cutting.Lock()
	c.writers++
	l.appending.Unlock()
	return func() {
		c.cutting.Unlock()
		l.appending.Lock()
		defer l.appending.Unlock()
		c.rested(l)
	}
}

// What was recorded and is being written by somebody else has to be at the operator, too, before a command runs that waits
// for its record.
func TestFlushWaitsForWhatIsBeingWritten(t *testing.T) {
	o := newOperator()
	s := openSpool(t, t.TempDir(), o)
	c := s.Log(testOptions(policy.Block)).Recorder()
	say(t, c, "guarded")
	l, chain := c.log, c.log.chain
	l.appending.Lock()
	chain.cutting.Lock()
	taken := chain.takeOpen()
	chain.writers++
	l.appending.Unlock()
	flushed := make(chan error, 1)
	go func() { flushed <- c.Flush(testContext(t)) }()
	select {
	case err := <-flushed:
		t.Fatalf("flushed before it was written (%v)", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := chain.write(taken); err != nil {
		t.Fatal(err)
	}
	chain.cutting.Unlock()
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	if got := texts(o.events(t)[0]); !slices.Equal(got, []string{"command guarded"}) {
		t.Errorf("the operator has %v", got)
	}
	l.appending.Lock()
	chain.rested(l)
	l.appending.Unlock()
}
