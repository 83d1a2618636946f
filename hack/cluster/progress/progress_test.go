package progress

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLineSaysWhatHowFarAndHowLong(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		step   *Step
		detail string
		after  time.Duration
		want   string
	}{
		"a step that counts": {
			&Step{name: "Kubernetes", expect: 450 * time.Second, start: start}, "3 of 10 packages", 61400 * time.Millisecond,
			"Kubernetes: 3 of 10 packages, 1m1s of about 7m30s",
		},
		"a step on a busy machine": {
			&Step{name: "Kubernetes", expect: 450 * time.Second, start: start, done: 500, total: 2000}, "", 300 * time.Second,
			"Kubernetes, 5m0s of about 7m30s, at this pace at most 15m0s more",
		},
		"a step that has done too little to tell": {
			&Step{name: "Kubernetes", start: start, done: 5, total: 2000}, "", 300 * time.Second, "Kubernetes, 5m0s",
		},
		"a step of unknown length": {&Step{name: "pause", start: start}, "", 1230 * time.Millisecond, "pause, 1.2s"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.detail != "" {
				tc.step.Say("%s", tc.detail)
			}
			if got := tc.step.line(start.Add(tc.after)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPlanNumbersItsStepsAndPassesErrorsOn(t *testing.T) {
	var out bytes.Buffer
	p := &Plan{out: &out, total: 3}
	p.Skip()
	if err := p.Run("second", 0, func(*Step) error { return nil }); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := p.Run("third", time.Minute, func(*Step) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"[2/3] second: done in", "[3/3] third: started, takes about 1m0s", "[3/3] third: failed after"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
