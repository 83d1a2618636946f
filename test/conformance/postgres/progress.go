package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// began is when the program did.
var began = time.Now()

// say shows on standard error a line of progress: the minutes since the start, the side that something runs on, and
// what.
func say(side, line string) {
	since := time.Since(began)
	fmt.Fprintf(os.Stderr, "%3d:%02d %-7s %s\n", int(since.Minutes()), int(since.Seconds())%60, side, line)
}

// progress shows what a suite's own program says.
func (s *side) progress() io.Writer {
	return &byLine{do: func(line []byte) {
		if len(line) > 0 {
			say(s.name, string(line))
		}
	}}
}

// tests shows how far go test -json has come: each package's end, and every so many tests.
func (s *side) tests() io.Writer {
	const often = 100
	ended := 0
	return &byLine{do: func(line []byte) {
		var e struct{ Action, Package, Test string }
		if json.Unmarshal(line, &e) != nil || e.Action != "pass" && e.Action != "fail" && e.Action != "skip" {
			return
		}
		if e.Test == "" {
			say(s.name, fmt.Sprintf("%s: %s", e.Package, e.Action))
		} else if ended++; ended%often == 0 {
			say(s.name, fmt.Sprintf("%s: %d tests so far", e.Package, ended))
		}
	}}
}

// byLine gives what is written to it away by line, without the line's end.
type byLine struct {
	do   func([]byte)
	rest []byte
}

func (l *byLine) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		l.do(l.rest[:end])
		l.rest = l.rest[end+1:]
	}
}
