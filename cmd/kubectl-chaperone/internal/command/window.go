package command

import (
	"fmt"
	"time"
)

// window is a stretch of time; a zero end is open.
type window struct{ from, to time.Time }

func (w window) holds(t time.Time) bool {
	return (w.from.IsZero() || !t.Before(w.from)) && (w.to.IsZero() || !t.After(w.to))
}

// overlaps tells whether what began and ended then has a moment in it.
func (w window) overlaps(began, ended time.Time) bool {
	return (w.from.IsZero() || !ended.Before(w.from)) && (w.to.IsZero() || !began.After(w.to))
}

// moment reads a time: so long ago (2h), a date or a moment (RFC 3339).
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s %s: neither a duration (2h), nor a date (2026-05-01), nor a moment (2026-05-01T10:00:00Z)", flag, text)
}
