package sql

import (
	"errors"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// tree is one statement's parse tree, and where its text lies.
type tree struct {
	root       *pg_query.Node
	start, end int
}

// grammar is the one place that calls PostgreSQL's parser (version 17's, through libpg_query), so that it can be
// replaced.
func grammar(query string) ([]tree, error) {
	result, err := pg_query.Parse(query)
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
