package page

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func written(t *testing.T, p *Page, v record.Verification) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b, v, "a test"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAPageSaysHowFarItsRecordingCanBeTrusted(t *testing.T) {
	for want, v := range map[string]record.Verification{
		"complete, verified and signed":               {State: record.Complete, Chunks: 1, Signed: 1, KeyID: "k"},
		"still recording, verified and signed so far": {State: record.Recording, Chunks: 1, Signed: 1, KeyID: "k"},
		"NOT SIGNED":                    {State: record.Complete, Chunks: 1},
		"TRUNCATED: the end is missing": {State: record.Truncated, Chunks: 1, Signed: 1, KeyID: "k"},
		"BROKEN: does not verify":       {State: record.Broken, Problem: "chunk 3 is not what its hash says"},
		"LOST":                          {State: record.Lost},
	} {
		if text := written(t, New(record.Meta{}), v); !strings.Contains(text, "</span> "+want+"</p>") || !strings.Contains(text, "<p>"+v.String()+"</p>") {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
}

func TestAPageHasBoundsAndSaysWhatItLeftOut(t *testing.T) {
	p := New(record.Meta{})
	for i := range mostEntries + 7 {
		if err := p.Event(record.Event{Kind: record.KindCommand, Connection: 1, Command: uint64(i + 1), Text: fmt.Sprint("SELECT ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if text := written(t, p, record.Verification{}); !strings.Contains(text, "7 more entries did not fit") || strings.Count(text, `<li class="entry`) != mostEntries {
		t.Error("it does not say what it left out")
	}

	p = New(record.Meta{})
	_ = p.Event(record.Event{Kind: record.KindCommand, Connection: 1, Command: 1, Text: "cat /dev/zero"})
	piece := strings.Repeat("x", 1<<20)
	for range 40 {
		_ = p.Event(record.Event{Kind: record.KindOutput, Connection: 1, Command: 1, Stream: "stdout", Data: piece})
	}
	if text := written(t, p, record.Verification{}); len(text) > mostText+1<<20 || !strings.Contains(text, "more came of this than fits") {
		t.Errorf("a page of %d bytes", len(text))
	}

	p = New(record.Meta{Terminal: true})
	for range 40 {
		_ = p.Event(record.Event{Kind: record.KindOutput, Data: piece})
	}
	if text := written(t, p, record.Verification{}); len(text) > mostText+4<<20 || !strings.Contains(text, "The terminal is longer than what fits") {
		t.Errorf("a page of %d bytes", len(text))
	}
}

func TestTheTerminalsPlayerComesWithTerminalsAlone(t *testing.T) {
	timeline := written(t, New(record.Meta{}), record.Verification{})
	p := New(record.Meta{Terminal: true})
	if err := p.Event(record.Event{Kind: record.KindOutput, Data: "x"}); err != nil {
		t.Fatal(err)
	}
	terminal := written(t, p, record.Verification{})
	if strings.Contains(timeline, "AsciinemaPlayer=") || strings.Contains(timeline, integrity(playerScript)) {
		t.Error("a timeline holds the player")
	}
	for _, want := range []string{playerScript, integrity(playerScript), integrity(pageScript), integrity(playerStyle), "Permission is hereby granted"} {
		if !strings.Contains(terminal, want) && !strings.Contains(html.UnescapeString(terminal), want) {
			t.Errorf("a terminal's page lacks %.60s", want)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAPageThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := New(record.Meta{}).Write(full{}, record.Verification{}, "a test"); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}
