package wire

import (
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// Judge is the verdict on a query string in a session of that state, without a server to ask: of relations no more than
// their names is known. Where a policy protects columns by name, what a session would find out about views and columns
// is then taken for unknown, so that the verdict is as strict as that of a session or stricter.
//
// An error is a *sql.SyntaxError: the statement is answered as the server would, and not judged.
func (r *Rules) Judge(text string, state sql.State) (policy.Verdict, error) {
	j := &judged{text: text, rules: r, results: &results{}}
	j.read(state)
	if j.shifting(false) { // as in Core.judge
		state.SearchPath, state.User = nil, ""
		j.read(state)
	}
	if j.syntax != nil {
		return policy.Verdict{}, j.syntax
	}
	return j.verdict, nil
}
