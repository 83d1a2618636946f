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
	options.Wait = func(_ context.Context, d time.Duration) (Key, error) {
		waited = append(waited, d)
		return NoKey, nil
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
		Wait: func(context.Context, time.Duration) (Key, error) { return NoKey, enough },
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

func TestAReplayBeginsWhereItsReaderAsks(t *testing.T) {
	events := []record.Event{
		{Kind: record.KindOutput, Data: "one "},
		{Time: 60, Kind: record.KindCommand, Connection: 1, Command: 1, Text: "ls"},
		{Time: 61, Kind: record.KindOutput, Data: "two "},
		{Time: 120, Kind: record.KindCommand, Connection: 1, Command: 2, Text: "id"},
		{Time: 121, Kind: record.KindOutput, Data: "three"},
	}
	for name, c := range map[string]struct {
		from    string
		waited  []time.Duration
		reached bool
	}{
		"at the beginning":            {"", []time.Duration{60e9, 1e9, 59e9, 1e9}, true},
		"after a minute":              {"1m", []time.Duration{60e9, 1e9, 59e9, 1e9}, true},
		"after a minute and a second": {"61s", []time.Duration{1e9, 59e9, 1e9}, true},
		"at a command":                {"1.2", []time.Duration{59e9, 1e9}, true},
		"beyond the end":              {"1h", nil, false},
		"at a command that is not":    {"2.1", nil, false},
	} {
		from, err := ParseStart(c.from)
		if err != nil {
			t.Fatal(err)
		}
		var out, note bytes.Buffer
		p, waited := player(Options{Speed: 1, From: from, Timing: func(bool) bool { return true }}, &out, &note)
		if err := p.Play(t.Context(), record.Meta{Terminal: true}, events); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(*waited, c.waited) || p.Reached() != c.reached {
			t.Errorf("%s: waited %v, reached %v", name, *waited, p.Reached())
		}
		if out.String() != "one two three" {
			t.Errorf("%s: the screen holds %q, which is not what it was", name, out.String())
		}
	}
}

func TestATimelineShowsNothingBeforeWhereItBegins(t *testing.T) {
	var out, note bytes.Buffer
	p, _ := player(Options{Speed: 1, From: Start{connection: 1, command: 2}, Timing: func(bool) bool { return false }}, &out, &note)
	meta := record.Meta{Target: "billing"}
	if err := p.Play(t.Context(), meta, []record.Event{
		{Kind: record.KindCommand, Connection: 1, Command: 1, Text: "SELECT 1", Verdict: "Allow"},
		{Kind: record.KindCommand, Connection: 1, Command: 2, Text: "SELECT 2", Verdict: "Allow"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(meta, record.Verification{State: record.Complete, Chunks: 1}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "SELECT 1") || !strings.Contains(got, "SELECT 2") || !strings.Contains(got, "2 commands") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatIsNoStart(t *testing.T) {
	for _, s := range []string{"x", "-1s", "0.1", "1.0", "1.2.3", "5", "1.x"} {
		if _, err := ParseStart(s); err == nil {
			t.Errorf("%q is taken as a start", s)
		}
	}
}

func TestTheReadersKeys(t *testing.T) {
	events := []record.Event{
		{Kind: record.KindOutput, Data: "a"}, {Time: 1, Kind: record.KindOutput, Data: "b"}, {Time: 2, Kind: record.KindOutput, Data: "c"},
		{Time: 3, Kind: record.KindCommand, Text: "ls"}, {Time: 4, Kind: record.KindOutput, Data: "d"}, {Time: 5, Kind: record.KindOutput, Data: "e"},
	}
	for name, c := range map[string]struct {
		keys   []Key
		out    string
		waited int
		err    error
	}{
		"play to the end":                        {nil, "abcde", 5, nil},
		"space pauses until it is pressed again": {[]Key{Pause, NoKey, NoKey, Pause}, "abcde", 8, nil},
		"] goes on at the next command":          {[]Key{NextMarker}, "abcde", 3, nil},
		"] does that in a pause too":             {[]Key{Pause, NextMarker}, "abcde", 4, nil},
		"q ends":                                 {[]Key{NoKey, Quit}, "ab", 2, ErrEnough},
		"q ends in a pause":                      {[]Key{Pause, Quit}, "a", 2, ErrEnough},
	} {
		var out bytes.Buffer
		waited := 0
		p := New(&out, &out, Options{Speed: 1, Timing: func(bool) bool { return true }, Wait: func(_ context.Context, d time.Duration) (Key, error) {
			waited++
			if len(c.keys) == 0 {
				if d < 0 {
					t.Fatalf("%s: waits for ever", name)
				}
				return NoKey, nil
			}
			k := c.keys[0]
			c.keys = c.keys[1:]
			return k, nil
		}})
		if err := p.Play(t.Context(), record.Meta{Terminal: true}, events); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if out.String() != c.out || waited != c.waited {
			t.Errorf("%s: shows %q, waited %d times", name, out.String(), waited)
		}
	}
}
