package naming

import "unicode/utf8"

// maxNote is the length in bytes of an event's note beyond which the API server refuses the event (k8s.io/api/events/v1,
// Event.Note: "maximal length of the note is 1kB").
const maxNote = 1024

// Note cuts a text to what an event can say. What matters to the reader has to come first.
func Note(text string) string {
	if len(text) <= maxNote {
		return text
	}
	const mark = " …"
	end := maxNote - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}
