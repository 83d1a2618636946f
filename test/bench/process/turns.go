package process

import (
	"fmt"
	"slices"
	"time"
)

// Peer is a way to do the work: past the sidecar or through it.
type Peer struct {
	Name string
	Work func() error
}

// Turns lets the way past the sidecar and the one through it work in turns, the other one first in each next round.
type Turns struct {
	Label           string
	Direct, Through Peer
	Sidecar         *Process
	Rounds          int
	// Size is how many bytes are moved in one turn, Items how many times something is done; one of them is not 0.
	Size  int64
	Items int
}

// Heading is the first two lines of the table that Row makes a row of.
const Heading = "| case | direct, median | sidecar, median | **sidecar / direct** | sidecar's CPU | peak RSS, MiB |\n|---|---:|---:|---:|---:|---:|\n"

// Row runs all turns and returns the row of the table: medians, and the median of each round's ratio.
func (t *Turns) Row() (string, error) {
	var direct, through, ratios, processor, resident []float64
	for round := range t.Rounds {
		turn := func() error {
			took, err := t.Direct.timed()
			direct = append(direct, took)
			return err
		}
		if round%2 == 0 {
			if err := turn(); err != nil {
				return "", err
			}
		}
		t.Sidecar.ForgetPeak()
		before, err := t.Sidecar.Processor()
		if err != nil {
			return "", err
		}
		took, err := t.Through.timed()
		if err != nil {
			return "", err
		}
		after, err := t.Sidecar.Processor()
		if err != nil {
			return "", err
		}
		peak, err := t.Sidecar.Peak()
		if err != nil {
			return "", err
		}
		if round%2 == 1 {
			if err := turn(); err != nil {
				return "", err
			}
		}
		through, processor, resident = append(through, took), append(processor, (after-before).Seconds()), append(resident, float64(peak)/(1<<20))
		ratios = append(ratios, took/direct[round])
	}
	of := func(s float64) string { return fmt.Sprintf("%.2f ms", s*1e3/float64(t.Items)) }
	cpu := of(Median(processor))
	if t.Size > 0 {
		of = func(s float64) string { return fmt.Sprintf("%.0f MiB/s", float64(t.Size)/(1<<20)/s) }
		cpu = fmt.Sprintf("%.2f s/GiB", Median(processor)*(1<<30)/float64(t.Size))
	}
	return fmt.Sprintf("| %s | %s | %s | **%.2f** | %s | %.1f |", t.label(), of(Median(direct)), of(Median(through)), Median(ratios), cpu, Median(resident)), nil
}

func (t *Turns) label() string {
	if t.Size > 0 {
		return fmt.Sprintf("%s, %d MiB", t.Label, t.Size>>20)
	}
	return fmt.Sprintf("%s, %d times", t.Label, t.Items)
}

// timed returns how long the work took, in seconds.
func (p *Peer) timed() (float64, error) {
	begin := time.Now()
	if err := p.Work(); err != nil {
		return 0, fmt.Errorf("%s: %w", p.Name, err)
	}
	return time.Since(begin).Seconds(), nil
}

// Median is the middle value, 0 of none.
func Median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}
