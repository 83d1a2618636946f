package sql

import (
	"errors"
	"strings"
	"testing"
)

// What the lexer would read again and again is refused before it; what people write is not. Each of those that are
// refused would take minutes, in which the test would not end.
func TestRunsOfOperatorCharacters(t *testing.T) {
	repeat := strings.Repeat
	for name, tc := range map[string]struct {
		query   string
		refused bool
	}{
		"comments that open and never close":    {repeat("/*", 500_000), true},
		"comments that open and close":          {"select 1 " + repeat("/**/", 250_000), true},
		"signs":                                 {"select " + repeat("+", 1_000_000) + "1", true},
		"many rows of them":                     {"select 1 " + repeat("/*"+repeat("/*", 2000)+" ", 200), true},
		"a comment in a box":                    {"/" + repeat("*", 120) + "\n * a box\n " + repeat("*", 120) + "/ select 1", false},
		"a ruled page":                          {repeat("-- "+repeat("=", 100)+"\n", 5000) + "select 1", false},
		"a line of 5,000":                       {"select '" + repeat("-", 5000) + "'", false},
		"a megabyte of text without such a row": {"select '" + repeat("x", 1_000_000) + "'", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tc.query, DefaultState())
			var unrecognised *UnrecognisedError
			if refused := errors.As(err, &unrecognised); refused != tc.refused {
				t.Errorf("refused is %v: %v", refused, err)
			}
		})
	}
}
