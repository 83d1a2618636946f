package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
)

// Events reads the events of a payload, at most some hundred KB of text. It stops at the first error.
func Events(payload []byte) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		text, err := unpack(nil, payload)
		if err != nil {
			yield(Event{}, err)
			return
		}
		for len(text) > 0 {
			var line []byte
			line, text, _ = bytes.Cut(text, []byte{'\n'})
			if len(line) == 0 {
				continue
			}
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				yield(Event{}, fmt.Errorf("reading an event: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Ending returns the KindEnd event of a log's last chunk; false if the chunk does not end a log. Its Error is empty
// when the log is complete and says otherwise why it was broken off.
func Ending(payload []byte) (Event, bool, error) {
	var last Event
	for e, err := range Events(payload) {
		if err != nil {
			return Event{}, false, err
		}
		last = e
	}
	return last, last.Kind == KindEnd, nil
}

func allEvents(payload []byte) (events []Event, err error) {
	for e, err := range Events(payload) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}
