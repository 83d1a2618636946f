package sql

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Parse reads a query string. Its error is a *SyntaxError, to be answered as the server would, or an
// *UnrecognisedError.
func Parse(query string, st State) (*Parsed, error) {
	switch {
	case len(query) > MaxStatementBytes:
		return nil, &UnrecognisedError{fmt.Sprintf("the statement is %d bytes long, more than %d", len(query), MaxStatementBytes)}
	case strings.IndexByte(query, 0) >= 0:
		return nil, &UnrecognisedError{"the statement holds a zero byte"}
	case !utf8.ValidString(query):
		return nil, &UnrecognisedError{"the statement is not valid UTF-8"}
	case !st.StandardConformingStrings:
		return nil, &UnrecognisedError{"standard_conforming_strings is off"}
	}
	trees, err := grammar(query)
	if err != nil {
		var syntax *SyntaxError
		if errors.As(err, &syntax) {
			return nil, err
		}
		return nil, &UnrecognisedError{err.Error()}
	}
	out := &Parsed{}
	for _, t := range trees {
		s, blind := recognise(t, query, st)
		out.LiteralBlind = blind && len(trees) == 1
		out.Commands = append(out.Commands, s.Commands...)
		out.Statements = append(out.Statements, s)
	}
	return out, nil
}
