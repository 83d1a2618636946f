package play

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// player plays with a clock of its own and notes how long it waited.
func player(options Options, out, note *bytes.Buffer) (*Player, *[]time.Duration) {
	var waited []time.Duration
	options.Sleep = func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}
	return New(out, note, options), &waited
}

func TestPausesAreAsTheyWereWithinTheLimit(t *testing.T) {
	events := []record.Event{{Time: 0.5}, {Time: 1.5}, {Time: 1.4}, {Time: 11.5}, {Time: 11.5}}
	for name, c := range map[string]struct {
		options Options
		want    []time.Duration
	}{
		"as it was":          {Options{Speed: 1}, []time.Duration{500 * time.Millisecond, time.Second, 10 * time.Second}},
		"twice as fast":      {Options{Speed: 2}, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second}},
		"with a limit":       {Options{Speed: 1, IdleLimit: 700 * time.Millisecond}, []time.Duration{500 * time.Millisecond, 700 * time.Millisecond, 700 * time.Millisecond}},
		"without any timing": {Options{Speed: 1, Timing: func(bool) bool { return false }}, nil},
	} {
		if c.options.Timing == nil {
			c.options.Timing = func(bool) bool { return true }
		}
		var out, note bytes.Buffer
		p, waited := player(c.options, &out, &note)
		// The log arrives in two parts.
		for _, part := range [][]record.Event{events[:2], events[2:]} {
			if err := p.Play(t.Context(), record.Meta{}, part); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(*waited, c.want) {
			t.Errorf("%s: waited %v, want %v", name, *waited, c.want)
		}
	}
}

func TestATerminalIsLeftAsItWasWhenItsReaderHasHadEnough(t *testing.T) {
	var out, note bytes.Buffer
	enough := errors.New("enough")
	p := New(&out, &note, Options{
		Speed: 1, Timing: func(terminal bool) bool { return terminal },
		Sleep: func(context.Context, time.Duration) error { return enough },
	})
	meta := record.Meta{Terminal: true}
	err := p.Play(t.Context(), meta, []record.Event{{Kind: record.KindOutput, Data: "\x1b[?1049hx"}, {Time: 1, Kind: record.KindOutput, Data: "y"}})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "\x1b[?1049hx"+record.Restore+"\r\n" || note.Len() != 0 {
		t.Errorf("got %q and %q", got, note.String())
	}
}

func TestALogWithoutEventsIsStillSpokenOf(t *testing.T) {
	for terminal, where := range map[bool]func(out, note string) string{
		false: func(out, _ string) string { return out }, true: func(_, note string) string { return note },
	} {
		var out, note bytes.Buffer
		p, _ := player(Options{Speed: 1}, &out, &note)
		if err := p.Finish(record.Meta{Terminal: terminal, Target: "billing"}, record.Verification{State: record.Lost}); err != nil {
			t.Fatal(err)
		}
		if got := where(out.String(), note.String()); !strings.Contains(got, "No chunk verified. The recording is LOST.") {
			t.Errorf("got %q", got)
		}
	}
}
