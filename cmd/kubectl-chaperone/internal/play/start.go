package play

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Start is where a log begins to be shown. The zero value is its beginning.
type Start struct {
	after      float64 // seconds
	connection uint32
	command    uint64
}

// ParseStart reads a time since the log's start (7m30s) or a command's number as the timeline shows it (2.15).
func ParseStart(s string) (Start, error) {
	if s == "" {
		return Start{}, nil
	}
	if connection, command, ok := strings.Cut(s, "."); ok {
		c, err1 := strconv.ParseUint(connection, 10, 32)
		n, err2 := strconv.ParseUint(command, 10, 64)
		if err1 == nil && err2 == nil && c > 0 && n > 0 {
			return Start{connection: uint32(c), command: n}, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return Start{}, errors.New("is neither a time since the start, such as 7m30s, nor the number of a command, such as 2.15")
	}
	return Start{after: d.Seconds()}, nil
}

// Reached tells whether the log has come so far with this event.
func (s Start) Reached(e *record.Event) bool {
	if s.command == 0 {
		return e.Time >= s.after
	}
	return e.Kind == record.KindCommand && e.Connection == s.connection && e.Command == s.command
}

// Number is a command's number as the timeline shows it.
func Number(e *record.Event) string { return fmt.Sprintf("%d.%d", e.Connection, e.Command) }

// At is an event's time since the log's start, as ParseStart reads it.
func At(e *record.Event) string {
	return time.Duration(e.Time * float64(time.Second)).Truncate(time.Millisecond).String()
}
