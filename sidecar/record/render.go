package record

import (
	"bufio"
	"fmt"
	"io"
	"iter"
)

// Format is how a log is shown.
type Format string

const (
	Text    Format = "text"      // a timeline for people
	Lines   Format = "jsonl"     // an Event as JSON on each line
	Cast    Format = "asciicast" // asciicast v3, for logs with terminal output
	Archive Format = "log"       // as WriteLog writes it, which can be verified
)

// ParseFormat reads a format's name; the empty one is text.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Text, nil
	case Text, Lines, Cast, Archive:
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q: text, jsonl, asciicast and log are known", s)
}

// ContentType is the media type of a format.
func (f Format) ContentType() string {
	switch f {
	case Lines:
		return "application/jsonl"
	case Cast:
		return "application/x-asciicast"
	case Archive:
		return ContentType
	}
	return "text/plain; charset=utf-8"
}

// renderer is what the formats have in common.
type renderer interface {
	Event(Event) error
	Finish(Verification) error
}

// NewLines writes an Event as JSON on each line.
func NewLines(w io.Writer) *JSONLines { return &JSONLines{w: w} }

// JSONLines writes events as they were recorded; what could act on a terminal is escaped again.
type JSONLines struct {
	w   io.Writer
	buf []byte
}

func (j *JSONLines) Event(e Event) error {
	j.buf = appendEvent(j.buf[:0], &e)
	_, err := j.w.Write(j.buf)
	return err
}

// Finish leaves a broken log's lines without an end that could be taken for the log's.
func (j *JSONLines) Finish(v Verification) error {
	if v.State == Broken {
		return fmt.Errorf("the log is broken: %s", v.Problem)
	}
	return nil
}

// Render writes a log in any format but Archive, verifying it on the way: only events of verified chunks are shown.
// head is asked after the last chunk and may return nil.
func Render(w io.Writer, format Format, meta Meta, chunks iter.Seq2[*Chunk, error], head func() *Head, trusted ...Key) (Verification, error) {
	buffered := bufio.NewWriterSize(w, 32<<10)
	var r renderer
	switch format {
	case Text:
		r = NewTimeline(buffered, meta)
	case Lines:
		r = NewLines(buffered)
	case Cast:
		r = NewAsciicast(buffered, meta)
	default:
		return Verification{}, fmt.Errorf("rendering a log as %q is not possible", format)
	}
	v, err := VerifyChunks(meta.Log, chunks, head, func(_ *Chunk, events []Event) error {
		for _, e := range events {
			if err := r.Event(e); err != nil {
				return err
			}
		}
		return nil
	}, trusted...)
	if err == nil {
		err = r.Finish(v)
	}
	if flushed := buffered.Flush(); err == nil {
		err = flushed
	}
	return v, err
}
