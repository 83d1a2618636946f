package resident

import (
	"runtime"
	"testing"
	"time"
)

func TestGarbageIsCollectedEarlyWhileThatIsSeldom(t *testing.T) {
	for name, test := range map[string]struct {
		begin int
		every []time.Duration // between collections, and how many of them
		want  int
	}{
		"twice a second":                         {sparing, repeat(100, 500*time.Millisecond), sparing},
		"as often as many sessions begin":        {sparing, repeat(recent-1, 10*time.Millisecond), sparing},
		"that often for longer":                  {sparing, repeat(recent+1, 10*time.Millisecond), usual},
		"often, and then half as often":          {sparing, append(repeat(recent+1, 100*time.Millisecond), repeat(50, 200*time.Millisecond)...), usual},
		"often, and then not for two seconds":    {sparing, append(repeat(recent+1, 100*time.Millisecond), 2*time.Second), sparing},
		"not for two seconds and often again":    {usual, append(repeat(1, 2*time.Second), repeat(recent+1, 100*time.Millisecond)...), usual},
		"often with a pause that is not so long": {usual, append(repeat(20, 100*time.Millisecond), 900*time.Millisecond), usual},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			c := collector{percent: test.begin}
			for i := range c.times {
				if test.begin == usual {
					c.times[i] = now
				}
			}
			before := c.percent
			for _, d := range test.every {
				now = now.Add(d)
				if changed := c.collected(now); changed != (c.percent != before) {
					t.Fatalf("says that it has changed: %v, from %d to %d", changed, before, c.percent)
				}
				before = c.percent
			}
			if c.percent != test.want {
				t.Errorf("%d %%, want %d", c.percent, test.want)
			}
		})
	}
}

func repeat(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}

func TestEveryCollectionIsNoted(t *testing.T) {
	set := make(chan int, 1)
	(&collector{percent: sparing}).watch(func(percent int) {
		select {
		case set <- percent:
		default:
		}
	})
	for deadline := time.Now().Add(time.Minute); ; runtime.GC() {
		select {
		case percent := <-set:
			if percent != usual {
				t.Fatalf("%d %%", percent)
			}
			return
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("collections without a pause change nothing")
		}
	}
}
