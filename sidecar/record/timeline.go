package record

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Timeline writes a log as text for people: one entry for every event, with its time, its connection and command,
// and below it what was decided and why. Everything that comes from the log is escaped.
type Timeline struct {
	w      io.Writer
	meta   Meta
	counts Counts
	began  map[command]float64 // commands under way, and when they came
	err    error
}

type command struct {
	connection uint32
	number     uint64
}

// mostUnderWay bounds what is remembered of commands without a result.
const mostUnderWay = 4096

// NewTimeline writes what the log is.
func NewTimeline(w io.Writer, meta Meta) *Timeline {
	t := &Timeline{w: w, meta: meta, began: map[command]float64{}}
	pod := meta.Pod
	if meta.Namespace != "" {
		pod = meta.Namespace + "/" + pod
	}
	if meta.ServiceAccount != "" {
		pod += " (service account " + meta.ServiceAccount + ")"
	}
	target := meta.Target
	if meta.Protocol != "" {
		target += " (" + meta.Protocol + ")"
	}
	for _, line := range [...][2]string{
		{"Recording", meta.Recording}, {"Pod", pod}, {"Target", target}, {"User", meta.User},
		{"Policies", strings.Join(meta.Policies, ", ")}, {"Started", meta.Start.UTC().Format("2006-01-02 15:04:05 MST")},
	} {
		if line[1] != "" {
			t.printf("%-10s %s\n", line[0], Printable(line[1]))
		}
	}
	t.printf("\n")
	return t
}

func (t *Timeline) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// entry writes a first line with time and number, and further ones below its text.
func (t *Timeline) entry(e *Event, lines ...string) {
	number := ""
	if e.Connection > 0 {
		number = fmt.Sprintf("%d", e.Connection)
		if e.Command > 0 {
			number += fmt.Sprintf(".%d", e.Command)
		}
	}
	at := t.meta.Start.Add(time.Duration(e.Time * float64(time.Second))).UTC().Format("15:04:05.000")
	for _, line := range lines {
		t.printf("%-12s  %-5s %s\n", at, number, line)
		at, number = "", ""
	}
}

// Event writes one event. The first error of the writer is returned from then on.
func (t *Timeline) Event(e Event) error {
	t.counts.add(&e)
	switch e.Kind {
	case KindCommand:
		if len(t.began) < mostUnderWay {
			t.began[command{e.Connection, e.Command}] = e.Time
		}
		lines := statement(&e)
		if words := verdict(&e); words != "" {
			lines = append(lines, words)
		}
		t.entry(&e, lines...)
	case KindApproval:
		t.entry(&e, approval(&e, t.since(&e)))
	case KindResult:
		t.entry(&e, result(&e, t.inTime(&e)))
		delete(t.began, command{e.Connection, e.Command})
	case KindOutput, KindInput:
		lines := PrintableLines(e.Data)
		for i := range lines {
			lines[i] = Printable(e.Stream) + "> " + lines[i]
		}
		t.entry(&e, lines...)
	default:
		t.entry(&e, Sentence(&e))
	}
	return t.err
}

// Skip counts an event that is not shown.
func (t *Timeline) Skip(e *Event) { t.counts.add(e) }

// Finish writes the totals and what the verification says.
func (t *Timeline) Finish(v Verification) error {
	t.printf("\n%s\n%s\n", t.counts, v)
	return t.err
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + Printable(why)
}
