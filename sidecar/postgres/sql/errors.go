package sql

import "strconv"

// MaxStatementBytes is the longest query string that is parsed unless the policy's maxStatementBytes says less.
// A parse tree takes up to about fifty times its text, and the sidecar's memory is counted in tens of MiB.
const MaxStatementBytes = 1 << 20

// SyntaxError is what the server's own parser would answer.
type SyntaxError struct {
	// Code is the SQLSTATE, 42601 for most; Detail and Hint are empty for most.
	Code, Detail, Hint string
	// Message is the server's own wording: syntax error at or near "FORM".
	Message string
	// Position is the 1-based character (not byte) in the query string; 0 where there is none.
	Position int
}

func (e *SyntaxError) Error() string {
	if e.Position == 0 {
		return e.Message
	}
	return e.Message + " at character " + strconv.Itoa(e.Position)
}

// UnrecognisedError says why a query string was not read at all: it is never forwarded unless the policy asks
// for an approval of such commands.
type UnrecognisedError struct {
	Reason string
}

func (e *UnrecognisedError) Error() string { return e.Reason }
