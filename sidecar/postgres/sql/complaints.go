package sql

import (
	"strings"

	"github.com/pganalyze/pg_query_go/v6/parser"
)

// complaint is what the server says beside the message of an error of its parser, where that is not SQLSTATE 42601
// alone. libpg_query hands over no more than message and position.
type complaint struct{ code, detail, hint string }

const (
	codeSyntax        = "42601"
	codeNotSupported  = "0A000"
	codeInvalidValue  = "22023"
	codeDuplicate     = "42710"
	codeReservedName  = "42939"
	codeWindowing     = "42P20"
	codeInvalidEscape = "22025"
)

// complaints by how the message begins, or by how it goes on behind a name (src/backend/parser/gram.y, scan.l and
// parser.c of PostgreSQL 15 to 17).
var complaints = []struct {
	prefix, infix string
	complaint
}{
	{prefix: "missing argument", complaint: complaint{codeSyntax, "", "Use NONE to denote the missing argument of a unary operator."}},
	{prefix: "LIMIT #,# syntax is not supported", complaint: complaint{codeSyntax, "", "Use separate LIMIT and OFFSET clauses."}},
	{prefix: "unrecognized row security option", complaint: complaint{codeSyntax, "", "Only PERMISSIVE or RESTRICTIVE policies are supported currently."}},
	{prefix: "invalid publication object list", complaint: complaint{codeSyntax, "One of TABLE or TABLES IN SCHEMA must be specified before a standalone table or schema name.", ""}},
	{prefix: "UNENCRYPTED PASSWORD is no longer supported", complaint: complaint{codeNotSupported, "", "Remove UNENCRYPTED to store the password in encrypted form instead."}},
	{prefix: "RECHECK is no longer required", complaint: complaint{codeNotSupported, "", "Update your data type."}},
	{prefix: "CREATE SCHEMA IF NOT EXISTS cannot include", complaint: complaint{code: codeNotSupported}},
	{prefix: "current database cannot be changed", complaint: complaint{code: codeNotSupported}},
	{prefix: "MATCH PARTIAL not yet implemented", complaint: complaint{code: codeNotSupported}},
	{prefix: "a column list with SET ", complaint: complaint{code: codeNotSupported}},
	{prefix: "CREATE EXTENSION ... FROM is no longer", complaint: complaint{code: codeNotSupported}},
	{prefix: "CREATE OR REPLACE CONSTRAINT TRIGGER", complaint: complaint{code: codeNotSupported}},
	{prefix: "CREATE ASSERTION is not yet implemented", complaint: complaint{code: codeNotSupported}},
	{prefix: "dropping an enum value is not implemented", complaint: complaint{code: codeNotSupported}},
	{prefix: "aggregates cannot have output arguments", complaint: complaint{code: codeNotSupported}},
	{prefix: "WITH CHECK OPTION not supported on recursive views", complaint: complaint{code: codeNotSupported}},
	{prefix: "UNIQUE predicate is not yet implemented", complaint: complaint{code: codeNotSupported}},
	{prefix: "only string constants are supported in JSON_TABLE", complaint: complaint{code: codeNotSupported}},
	{prefix: "an ordered-set aggregate with a VARIADIC direct argument", complaint: complaint{code: codeNotSupported}},
	{infix: " constraints cannot be marked ", complaint: complaint{code: codeNotSupported}},
	{prefix: "column number must be in range from 1 to", complaint: complaint{code: codeInvalidValue}},
	{prefix: "precision for type float must be", complaint: complaint{code: codeInvalidValue}},
	{prefix: "unrecognized JSON encoding", complaint: complaint{code: codeInvalidValue}},
	{prefix: "modulus for hash partition provided more than once", complaint: complaint{code: codeDuplicate}},
	{prefix: "remainder for hash partition provided more than once", complaint: complaint{code: codeDuplicate}},
	{prefix: "frame start", complaint: complaint{code: codeWindowing}},
	{prefix: "frame end", complaint: complaint{code: codeWindowing}},
	{prefix: "role name ", infix: " is reserved", complaint: complaint{code: codeReservedName}},
	{infix: " cannot be used as a role name here", complaint: complaint{code: codeReservedName}},
	{prefix: "invalid Unicode escape value", complaint: complaint{code: codeSyntax}},
	{prefix: "invalid Unicode escape", complaint: complaint{codeInvalidEscape, "", `Unicode escapes must be \uXXXX or \UXXXXXXXX.`}},
}

// syntaxError completes an error of the parser's.
func syntaxError(err *parser.Error) *SyntaxError {
	e := &SyntaxError{Code: codeSyntax, Message: err.Message, Position: err.Cursorpos}
	for i := range complaints {
		c := &complaints[i]
		if strings.HasPrefix(e.Message, c.prefix) && strings.Contains(e.Message, c.infix) {
			e.Code, e.Detail, e.Hint = c.code, c.detail, c.hint
			break
		}
	}
	if e.Code == codeInvalidEscape && strings.HasSuffix(err.Filename, "parser.c") { // of U&'...', which the lexer leaves to the parser
		e.Code, e.Hint = codeSyntax, `Unicode escapes must be \XXXX or \+XXXXXX.`
	}
	return e
}
