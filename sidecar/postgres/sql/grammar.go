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

// parsing lets one statement at a time through libpg_query's parser: it points the process's standard error at a
// pipe of its own while it runs, and two at once would restore each other's. Two things follow for the process:
// what others write to standard error meanwhile is lost, so logs belong elsewhere, and each parse needs four file
// descriptors, without which libpg_query fails in ways that it does not survive.
var parsing sync.Mutex

// grammar is the one place that calls PostgreSQL's parser (version 17's, through libpg_query), so that it can be
// replaced.
func grammar(query string) ([]tree, error) {
	if err := boundDepth(query); err != nil {
		return nil, err
	}
	parsing.Lock()
	result, err := pg_query.Parse(query)
	parsing.Unlock()
	if err != nil {
		var perr *parser.Error
		if errors.As(err, &perr) {
			return nil, &SyntaxError{Message: perr.Message, Position: perr.Cursorpos}
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
	parsing.Lock()
	defer parsing.Unlock()
	print, err := pg_query.Fingerprint(statement)
	if err != nil {
		return ""
	}
	return print
}
