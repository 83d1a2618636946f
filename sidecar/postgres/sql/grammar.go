package sql

import (
	"errors"
	"sync"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// tree is one statement's parse tree, and where its text lies.
type tree struct {
	root       *pg_query.Node
	start, end int
}

// largeStatement is the length from which statements are parsed one at a time: each may take some tens of MiB
// for an instant, and sessions are many. Shorter ones need no turn; the parser keeps its state per thread.
const largeStatement = 32 << 10

var largeTurn sync.Mutex

// turn waits for a statement's turn and returns what ends it.
func turn(statement string) (done func()) {
	if len(statement) < largeStatement {
		return func() {}
	}
	largeTurn.Lock()
	return largeTurn.Unlock
}

// grammar is the one place that calls PostgreSQL's parser (version 17's, through libpg_query), so that it can be
// replaced.
func grammar(query string) ([]tree, error) {
	defer turn(query)()
	if err := boundRuns(query); err != nil {
		return nil, err
	}
	if err := boundDepth(query); err != nil {
		return nil, err
	}
	result, err := pg_query.Parse(query)
	if err != nil {
		var perr *parser.Error
		if errors.As(err, &perr) {
			return nil, syntaxError(perr)
		}
		return nil, err
	}
	trees := make([]tree, 0, len(result.Stmts))
	for _, s := range result.Stmts {
		start, end := int(s.StmtLocation), int(s.StmtLocation+s.StmtLen)
		if s.StmtLen == 0 {
			end = len(query)
		}
		trees = append(trees, tree{s.Stmt, start, end})
	}
	return trees, nil
}

// fingerprint is equal for statements that differ only in constants; empty for one that has none.
func fingerprint(statement string) string {
	defer turn(statement)()
	print, err := pg_query.Fingerprint(statement)
	if err != nil {
		return ""
	}
	return print
}
