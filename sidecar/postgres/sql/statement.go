package sql

import "github.com/chaperone-dev/chaperone/sidecar/policy"

// Parsed is a query string, understood.
type Parsed struct {
	// Statements are the top-level statements in order; none for an empty query.
	Statements []Statement
	// Commands are the commands of all statements, flat, each statement's own before those nested in it.
	Commands []policy.Command
	// LiteralBlind says that all of this, but for texts and offsets, and the statement's Lineage hold for every
	// query of the same Skeleton. It is only ever set for a single SELECT, INSERT, UPDATE or DELETE.
	LiteralBlind bool
}

// Kind says what the wire has to know about a statement beyond its verdict.
type Kind uint8

const (
	// KindOther is judged by its Commands alone and returns no rows (DDL, DML without RETURNING, DO, ...).
	KindOther       Kind = iota
	KindQuery            // returns rows: SELECT, VALUES, TABLE, DML with RETURNING
	KindExplain          // returns a plan as rows; Inner is what it explains
	KindShow             // returns a setting as a row
	KindTransaction      // Transaction is set
	KindSet              // Setting is set (SET and RESET)
	KindPrepare          // Prepared and Inner are set
	KindExecute          // Prepared names the statement that runs
	KindDeallocate       // Prepared names it, or Prepared.All
	KindDeclare          // Cursor and Inner are set
	KindFetch            // Cursor names it (FETCH returns its rows, MOVE none)
	KindClose            // Cursor names it, or Cursor.All
	KindCopy             // Copy is set
	KindNotify           // NOTIFY
	KindListen           // LISTEN and UNLISTEN
	KindDiscard          // Discard is set
	KindCall             // CALL may return one row of output parameters, none of which is proved
)

// Statement is one top-level statement, or the statement inside a PREPARE, EXPLAIN or DECLARE CURSOR.
type Statement struct {
	Kind Kind
	// Tag is the command tag without counts: SELECT, DROP TABLE, COPY TO.
	Tag string
	// Text is the statement's own part of the query string, without the semicolon.
	Text string
	// Start and End are Text's byte offsets in the query string.
	Start, End int
	// Commands are the statement and every statement nested in it.
	Commands []policy.Command

	Transaction *Transaction
	// Setting is set for KindSet, and for a KindQuery that is a lone set_config.
	Setting  *Setting
	Prepared *Prepared
	Cursor   *Cursor
	Copy     *Copy
	Discard  Discard
	// Inner is the statement inside a PREPARE, EXPLAIN or DECLARE CURSOR.
	Inner *Statement

	// ReturnsRows says that the statement's result has rows (for EXECUTE and FETCH: it may).
	ReturnsRows bool
	// CreatesTemporary names the temporary relation that the statement makes, if it makes one.
	CreatesTemporary string
	// ChangesCatalogue says that the statement may change relations, views or schemas, so that a Catalogue
	// taken before it is out of date.
	ChangesCatalogue bool

	node tree
	st   State
}

// TransactionKind is what a transaction control statement does.
type TransactionKind uint8

const (
	Begin TransactionKind = iota + 1
	Commit
	Rollback
	SavepointSet
	SavepointRelease
	SavepointRollback
	PrepareTransaction
	CommitPrepared
	RollbackPrepared
)

// Transaction is a transaction control statement.
type Transaction struct {
	Kind TransactionKind
	// Name is the savepoint's, or the prepared transaction's identifier.
	Name string
	// Chain is AND CHAIN.
	Chain bool
}

// Setting is a SET or RESET, or a SELECT that does nothing but call set_config with literals.
type Setting struct {
	// Name is the parameter in lower case; empty for RESET ALL.
	Name string
	// Values are its values, as text; none for DEFAULT and RESET, which Reset says.
	Values []string
	Reset  bool
	// Local is SET LOCAL: it ends with the transaction.
	Local bool
	// Class says how the parameter has to be treated.
	Class SettingClass
}

// SettingClass is how a parameter has to be treated.
type SettingClass uint8

const (
	// SettingFree changes nothing about what statements mean.
	SettingFree SettingClass = iota
	// SettingTracked changes what later statements mean: search_path, role, session_authorization.
	SettingTracked
	// SettingPinned may not leave the value that the sidecar relies on; a statement that would change it has
	// its command Refused.
	SettingPinned
)

// Prepared is an SQL-level prepared statement: PREPARE, EXECUTE or DEALLOCATE.
type Prepared struct {
	Name string
	// All is DEALLOCATE ALL.
	All bool
	// Parameters is the number of declared types (PREPARE) or of arguments (EXECUTE).
	Parameters int
}

// Cursor is DECLARE, FETCH, MOVE or CLOSE.
type Cursor struct {
	Name string
	// All is CLOSE ALL.
	All bool
	// Hold is WITH HOLD: the cursor outlives its transaction.
	Hold bool
	// Move is MOVE, which returns no rows.
	Move bool
}

// Copy is a COPY statement to or from the client.
type Copy struct {
	// To is COPY ... TO STDOUT, else COPY ... FROM STDIN.
	To bool
	// Format is text, csv or binary.
	Format string
	// Delimiter, Null, Quote and Escape are the options that the format uses, with their defaults filled in.
	Delimiter, Null, Quote, Escape string
	// Header says that the first line names the columns.
	Header bool
	// ForceQuoteAll and ForceQuote are CSV's FORCE_QUOTE * and its columns.
	ForceQuoteAll bool
	ForceQuote    []string
	// Encoding is the ENCODING option; empty: the client's.
	Encoding string
}

// Discard is a DISCARD's target.
type Discard uint8

const (
	DiscardNone Discard = iota
	DiscardAll
	DiscardPlans
	DiscardSequences
	DiscardTemp
)
