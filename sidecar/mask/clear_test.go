package mask

import (
	"math/rand/v2"
	"testing"
)

// Values stand behind lengths here, as in a row. Every byte of a length but the first can look like a part of the value.
func TestNoValueWithAMatchIsClear(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const lookalikes = "0123456789.- 4@A_\x00\x10"
	found := 0
	for range 60_000 {
		var (
			frame []byte
			ends  []int // of values that hold a match
		)
		for range 1 + random.IntN(4) {
			frame = append(frame, 0)
			for range 3 {
				frame = append(frame, lookalikes[random.IntN(len(lookalikes))])
			}
			start := len(frame)
			for range random.IntN(5) {
				frame = append(frame, oracleParts[random.IntN(len(oracleParts))]...)
			}
			if random.IntN(4) == 0 && len(frame) > start {
				frame[start+random.IntN(len(frame)-start)] = lookalikes[random.IntN(len(lookalikes))]
			}
			if _, hits := oracleDetectors.Rewrite(nil, frame[start:]); hits > 0 {
				ends = append(ends, len(frame))
			}
		}
		frame = append(frame, 'D', 0)
		clear := oracleDetectors.Clear(frame)
		for _, end := range ends {
			if end <= clear {
				t.Fatalf("the value that ends at %d of %q matches, but %d bytes are clear", end, frame, clear)
			}
		}
		found += len(ends)
	}
	if found < 10_000 {
		t.Errorf("only %d values matched", found)
	}
}
