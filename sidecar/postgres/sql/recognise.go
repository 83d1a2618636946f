package sql

import (
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// recognise says what a statement does.
func recognise(t tree, query string, st State) Statement {
	text := strings.TrimSpace(query[t.start:t.end])
	return Statement{
		Text: text, Start: t.start, End: t.end, node: t, st: st,
		Commands: []policy.Command{{Protocol: policy.ProtocolPostgres, Text: text, Unrecognised: "statements are not yet told apart"}},
	}
}
