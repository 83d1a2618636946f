package resident

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// How much of what is live may be garbage before it is collected, in percent (debug.SetGCPercent).
const (
	sparing = 50
	usual   = 100 // Go's own
)

const (
	// recent is how many collections are looked at: more than the start of many sessions at once takes.
	recent = 16
	// frequent is how often garbage is collected, on average of the recent times, where half as often is worth the memory:
	// one takes some 4 ms of a processor, a fiftieth of this.
	frequent = 200 * time.Millisecond
	// seldom is how long it is not collected when that is over.
	seldom = time.Second
)

// SpareHeap has garbage collected when half as much of it is there as usual, for as long as that happens so seldom that
// it costs next to nothing: sessions of PostgreSQL leave little behind, copies of files through SSH or Kubernetes much.
// Where GOGC is set in the environment, that holds.
func SpareHeap() {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	debug.SetGCPercent(sparing)
	(&collector{percent: sparing}).watch(func(percent int) { debug.SetGCPercent(percent) })
}

// collector decides by how often garbage is collected.
type collector struct {
	percent int
	times   [recent]time.Time // of the last collections; at is the oldest
	at      int
}

// collected takes note of a collection, and tells whether percent has changed.
func (c *collector) collected(now time.Time) (changed bool) {
	last, oldest := c.times[(c.at+recent-1)%recent], c.times[c.at]
	c.times[c.at] = now
	c.at = (c.at + 1) % recent
	switch {
	case c.percent == sparing && !oldest.IsZero() && now.Sub(oldest) < recent*frequent:
		c.percent = usual
	case c.percent == usual && now.Sub(last) > seldom:
		c.percent = sparing
	default:
		return false
	}
	return true
}

// watch has every collection noted from now on, and set called when percent changes.
func (c *collector) watch(set func(percent int)) {
	// Nobody refers to it, so that the next collection finds it. The pointer keeps it from sharing its memory with others.
	runtime.AddCleanup(new(struct{ _ *byte }), func(c *collector) {
		if c.collected(time.Now()) {
			set(c.percent)
		}
		c.watch(set)
	}, c)
}
