package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNoTerminal says that a log holds no output to play.
var ErrNoTerminal = errors.New("the recording holds no terminal output; read it as text")

// Asciicast writes a log with output as asciicast v3 (docs.asciinema.org/manual/asciicast/v3): what was shown,
// changes of size, and a marker for every command. What is not display is left out.
type Asciicast struct {
	w       io.Writer
	meta    Meta
	display Display
	begun   bool
	at      float64
	columns int
	lines   int
	waiting []Event // commands before the first output
}

const (
	// The size that is assumed until the terminal tells its own.
	defaultColumns = 80
	defaultLines   = 24
	// mostMarkers bounds the commands remembered before the first output.
	mostMarkers = 256
	// mostColumns and mostLines bound a size that an agent chose: a player makes room for all of it. Far above any
	// real terminal (an 8K screen in the smallest font has 1,280 by 432).
	mostColumns = 2000
	mostLines   = 1000
)

// NewAsciicast writes nothing before the first output.
func NewAsciicast(w io.Writer, meta Meta) *Asciicast {
	return &Asciicast{w: w, meta: meta, columns: defaultColumns, lines: defaultLines}
}

// Event writes one event.
func (a *Asciicast) Event(e Event) error {
	switch e.Kind {
	case KindOutput:
		if err := a.begin(); err != nil {
			return err
		}
		if shown := a.display.Filter(e.Data); shown != "" {
			return a.line(e.Time, "o", shown)
		}
	case KindResize:
		columns, lines := min(max(e.Columns, 1), mostColumns), min(max(e.Lines, 1), mostLines)
		if !a.begun {
			a.columns, a.lines = columns, lines
			return nil
		}
		return a.line(e.Time, "r", fmt.Sprintf("%dx%d", columns, lines))
	case KindCommand:
		if !a.begun {
			if len(a.waiting) < mostMarkers {
				a.waiting = append(a.waiting, e)
			}
			return nil
		}
		return a.line(e.Time, "m", marker(&e))
	}
	return nil
}

// Finish ends the recording; it returns ErrNoTerminal when there was no output.
func (a *Asciicast) Finish(Verification) error {
	if !a.begun {
		return ErrNoTerminal
	}
	return nil
}

func (a *Asciicast) begin() error {
	if a.begun {
		return nil
	}
	a.begun = true
	type term struct {
		Cols int `json:"cols"`
		Rows int `json:"rows"`
	}
	header, err := json.Marshal(struct {
		Version   int    `json:"version"`
		Term      term   `json:"term"`
		Timestamp int64  `json:"timestamp,omitempty"`
		Title     string `json:"title,omitempty"`
	}{3, term{a.columns, a.lines}, a.meta.Start.Unix(), Printable(strings.Trim(a.meta.Namespace+"/"+a.meta.Recording, "/"))})
	if err != nil {
		return fmt.Errorf("encoding the recording's header: %w", err)
	}
	if _, err := a.w.Write(append(header, '\n')); err != nil {
		return err
	}
	for i := range a.waiting {
		if err := a.line(a.waiting[i].Time, "m", marker(&a.waiting[i])); err != nil {
			return err
		}
	}
	a.waiting = nil
	return nil
}

// line writes an event with the time since the one before.
func (a *Asciicast) line(at float64, code, data string) error {
	interval := max(0, at-a.at)
	a.at = max(a.at, at)
	line := append(appendSeconds([]byte{'['}, interval), ", \""...)
	line = append(append(line, code...), "\", "...)
	line = append(appendQuoted(line, data), "]\n"...)
	_, err := a.w.Write(line)
	return err
}

func marker(e *Event) string {
	label := Printable(cutText(e.Text, 200))
	if e.Verdict != "" && e.Verdict != "Allow" {
		label = e.Verdict + ": " + label
	}
	return label
}
