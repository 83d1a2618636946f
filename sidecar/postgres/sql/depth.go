package sql

import (
	"fmt"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// maxDepth bounds how deep a parse tree can nest. libpg_query writes its tree by recursion without looking
	// at the stack: chains of 20,000 operators still fit the 8 MiB of a thread, 100,000 do not, and the process
	// dies. PostgreSQL itself gives up at about 7,000 with its default max_stack_depth.
	maxDepth = 1000
	// maxTokens bounds the size of a parse tree: 100,000 tokens make about 30 MiB of it for an instant.
	maxTokens = 100_000
	// certainlyShallow: a level takes at least one character to open and one to close or to separate, so that a
	// shorter text cannot be too deep and need not be scanned first.
	certainlyShallow = 2 * maxDepth
)

// boundDepth refuses a query whose parse tree could be too deep or too large, from its tokens alone: the lexer is
// the grammar's own and does not recurse. A lexical error is left to the parser, which words it.
func boundDepth(query string) error {
	if len(query) <= certainlyShallow {
		return nil
	}
	scanned, err := parser.ScanToProtobuf(query)
	if err != nil {
		return nil //nolint:nilerr // the parser meets the same error next, and words it
	}
	var d nesting
	d.open(0)
	count := 0
	for len(scanned) > 0 {
		field, kind, n := protowire.ConsumeTag(scanned)
		if n < 0 {
			return fmt.Errorf("the lexer's answer could not be read: %w", protowire.ParseError(n))
		}
		scanned = scanned[n:]
		if field != 2 || kind != protowire.BytesType { // ScanResult.tokens
			if n = protowire.ConsumeFieldValue(field, kind, scanned); n < 0 {
				return fmt.Errorf("the lexer's answer could not be read: %w", protowire.ParseError(n))
			}
			scanned = scanned[n:]
			continue
		}
		body, n := protowire.ConsumeBytes(scanned)
		if n < 0 {
			return fmt.Errorf("the lexer's answer could not be read: %w", protowire.ParseError(n))
		}
		scanned = scanned[n:]
		if count++; count > maxTokens {
			return &UnrecognisedError{fmt.Sprintf("the statement has more than %d tokens; send values as parameters or by COPY", maxTokens)}
		}
		token, keyword := scanToken(body)
		if d.add(token, keyword); d.total > maxDepth {
			return &UnrecognisedError{fmt.Sprintf("the statement nests more than %d deep", maxDepth)}
		}
	}
	return nil
}

// scanToken reads token and keyword_kind of a ScanToken.
func scanToken(body []byte) (token pg_query.Token, keyword bool) {
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			break
		}
		body = body[n:]
		if kind != protowire.VarintType {
			if n = protowire.ConsumeFieldValue(field, kind, body); n < 0 {
				break
			}
			body = body[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(body)
		if n < 0 {
			break
		}
		body = body[n:]
		switch field {
		case 4:
			token = pg_query.Token(v)
		case 5:
			keyword = v != uint64(pg_query.KeywordKind_NO_KEYWORD)
		}
	}
	return token, keyword
}

// nesting is an upper bound for the depth of the tree at the current token. Parentheses, brackets and CASE ...
// END open a level. Within a level every operator and keyword may wrap all that came before it, up to a comma,
// AND or OR, which begin a new operand (their lists are flat in the tree); set operations and joins wrap across
// commas as well.
type nesting struct {
	levels   []level
	total    int
	previous pg_query.Token
}

type level struct {
	opener  pg_query.Token
	chain   int
	sticky  int
	between int // BETWEENs whose AND is still to come
}

func (d *nesting) open(by pg_query.Token) {
	d.levels = append(d.levels, level{opener: by})
	d.total++
}

func (d *nesting) close() {
	if last := len(d.levels) - 1; last > 0 {
		d.total -= 1 + d.levels[last].chain + d.levels[last].sticky
		d.levels = d.levels[:last]
	}
}

func (d *nesting) reset(l *level) {
	d.total -= l.chain
	l.chain = 0
}

func (d *nesting) add(t pg_query.Token, keyword bool) {
	label := d.previous == pg_query.Token_ASCII_46 // after a dot even a reserved word is only a name
	if t != pg_query.Token_SQL_COMMENT && t != pg_query.Token_C_COMMENT {
		d.previous = t
	}
	l := &d.levels[len(d.levels)-1]
	switch t {
	case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT, pg_query.Token_ASCII_46,
		pg_query.Token_IDENT, pg_query.Token_UIDENT, pg_query.Token_FCONST, pg_query.Token_SCONST, pg_query.Token_USCONST,
		pg_query.Token_BCONST, pg_query.Token_XCONST, pg_query.Token_ICONST, pg_query.Token_PARAM:
		return
	}
	if label && keyword {
		return
	}
	switch t {
	case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91, pg_query.Token_CASE:
		d.open(t)
		return
	case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93:
		// A CASE without END is a syntax error or a column label: it ends with the parentheses around it.
		for len(d.levels) > 1 && d.levels[len(d.levels)-1].opener == pg_query.Token_CASE {
			d.close()
		}
		d.close()
		return
	case pg_query.Token_END_P:
		if l.opener == pg_query.Token_CASE {
			d.close()
			return
		}
	case pg_query.Token_WHEN, pg_query.Token_THEN, pg_query.Token_ELSE:
		if l.opener == pg_query.Token_CASE {
			d.reset(l)
		}
	case pg_query.Token_ASCII_44, pg_query.Token_OR:
		d.reset(l)
	case pg_query.Token_BETWEEN:
		l.between++
	case pg_query.Token_AND:
		if l.between > 0 {
			l.between--
		} else {
			d.reset(l)
		}
	case pg_query.Token_ASCII_59:
		d.total -= l.sticky
		l.sticky = 0
		d.reset(l)
		return
	case pg_query.Token_UNION, pg_query.Token_INTERSECT, pg_query.Token_EXCEPT, pg_query.Token_JOIN:
		l.sticky++
		d.total++
		return
	}
	l.chain++
	d.total++
}
