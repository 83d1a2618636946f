package sql

import "fmt"

// maxRunWork bounds what runs of operator characters may cost the lexer. It takes such a run as a whole, and then gives
// back all but its first characters, so that each of them is read again and again: the square of the run's length
// (scan.l, the rules for `operator` and `xcstart`). A run of 5,000 is still read at once; one of 200,000 would hold a
// processor for minutes, where no cancellation reaches it.
const maxRunWork = 32 << 20

// harmlessRun is the length up to which a run is not counted: a ruled line, in however long a text.
const harmlessRun = 256

// boundRuns refuses a query whose runs of operator characters would take the lexer too long, wherever they stand.
func boundRuns(query string) error {
	work, run := 0, 0
	for i := range len(query) {
		if operatorCharacters[query[i]] {
			if run++; run > harmlessRun {
				work += run
			}
			if work > maxRunWork/2 {
				return &UnrecognisedError{fmt.Sprintf("the statement holds operator characters in a row, %d of them or many such rows; send texts as parameters", run)}
			}
			continue
		}
		run = 0
	}
	return nil
}

// operatorCharacters are the lexer's op_chars (scan.l).
var operatorCharacters = func() (set [256]bool) {
	for _, c := range []byte("~!@#^&|`?+-*/%<>=") {
		set[c] = true
	}
	return set
}()
