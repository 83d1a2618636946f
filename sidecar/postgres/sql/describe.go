package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// describe says what the wire has to know of a statement beyond its verdict.
func describe(m proto.Message, st State) Statement {
	s := Statement{Kind: KindOther, Tag: tagOf(m)}
	switch n := m.(type) {
	case *pg_query.SelectStmt:
		if into := leftmost(n).IntoClause; into != nil {
			s.makes(into.Rel, st)
			break
		}
		s.Kind, s.ReturnsRows = KindQuery, true
		if call := onlyCall(n); call != nil {
			s.Setting = configSetting(call)
		}
	case *pg_query.InsertStmt:
		s.returning(n.ReturningList)
	case *pg_query.UpdateStmt:
		s.returning(n.ReturningList)
	case *pg_query.DeleteStmt:
		s.returning(n.ReturningList)
	case *pg_query.MergeStmt:
		s.returning(n.ReturningList)
	case *pg_query.ExplainStmt:
		s.Kind, s.ReturnsRows, s.Inner = KindExplain, true, inner(n.Query, st)
	case *pg_query.VariableShowStmt:
		s.Kind, s.ReturnsRows = KindShow, true
	case *pg_query.TransactionStmt:
		s.Kind, s.Transaction = KindTransaction, transaction(n)
	case *pg_query.VariableSetStmt:
		s.Kind, s.Setting = KindSet, setting(n)
	case *pg_query.PrepareStmt:
		s.Kind, s.Inner = KindPrepare, inner(n.Query, st)
		s.Prepared = &Prepared{Name: n.Name, Parameters: len(n.Argtypes)}
	case *pg_query.ExecuteStmt:
		s.Kind, s.ReturnsRows = KindExecute, true
		s.Prepared = &Prepared{Name: n.Name, Parameters: len(n.Params)}
	case *pg_query.DeallocateStmt:
		s.Kind, s.Prepared = KindDeallocate, &Prepared{Name: n.Name, All: n.Isall}
	case *pg_query.DeclareCursorStmt:
		s.Kind, s.Inner = KindDeclare, inner(n.Query, st)
		s.Cursor = &Cursor{Name: n.Portalname, Hold: n.Options&cursorHold != 0}
	case *pg_query.FetchStmt:
		s.Kind, s.ReturnsRows = KindFetch, !n.Ismove
		s.Cursor = &Cursor{Name: n.Portalname, Move: n.Ismove}
	case *pg_query.ClosePortalStmt:
		s.Kind, s.Cursor = KindClose, &Cursor{Name: n.Portalname, All: n.Portalname == ""}
	case *pg_query.CopyStmt:
		s.Kind, s.Copy = KindCopy, copyDetails(n)
	case *pg_query.NotifyStmt:
		s.Kind = KindNotify
	case *pg_query.ListenStmt, *pg_query.UnlistenStmt:
		s.Kind = KindListen
	case *pg_query.CallStmt:
		s.Kind, s.ReturnsRows, s.ChangesCatalogue = KindCall, true, true
	case *pg_query.DiscardStmt:
		s.Kind, s.Discard = KindDiscard, discards[n.Target]
	case *pg_query.CreateTableAsStmt:
		s.makes(n.Into.GetRel(), st)
		if n.Query.GetExecuteStmt() != nil {
			s.Inner = inner(n.Query, st)
		}
	case *pg_query.CreateStmt:
		s.makes(n.Relation, st)
	case *pg_query.ViewStmt:
		s.makes(n.View, st)
	case *pg_query.CreateSeqStmt:
		s.makes(n.Sequence, st)
	default:
		s.ChangesCatalogue = !leavesCatalogue(m)
	}
	return s
}

// cursorHold is CURSOR_OPT_HOLD (parsenodes.h).
const cursorHold = 0x0020

var discards = map[pg_query.DiscardMode]Discard{
	pg_query.DiscardMode_DISCARD_ALL:       DiscardAll,
	pg_query.DiscardMode_DISCARD_PLANS:     DiscardPlans,
	pg_query.DiscardMode_DISCARD_SEQUENCES: DiscardSequences,
	pg_query.DiscardMode_DISCARD_TEMP:      DiscardTemp,
}

var transactions = map[pg_query.TransactionStmtKind]TransactionKind{
	pg_query.TransactionStmtKind_TRANS_STMT_BEGIN:             Begin,
	pg_query.TransactionStmtKind_TRANS_STMT_START:             Begin,
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT:            Commit,
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:          Rollback,
	pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT:         SavepointSet,
	pg_query.TransactionStmtKind_TRANS_STMT_RELEASE:           SavepointRelease,
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:       SavepointRollback,
	pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:           PrepareTransaction,
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   CommitPrepared,
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: RollbackPrepared,
}

func transaction(n *pg_query.TransactionStmt) *Transaction {
	t := &Transaction{Kind: transactions[n.Kind], Name: n.SavepointName, Chain: n.Chain}
	if n.Gid != "" {
		t.Name = n.Gid
	}
	return t
}

func inner(n *pg_query.Node, st State) *Statement {
	s := describe(unwrap(n), st)
	s.node, s.st = tree{root: n}, st
	return &s
}

func (s *Statement) returning(list []*pg_query.Node) {
	if len(list) > 0 {
		s.Kind, s.ReturnsRows = KindQuery, true
	}
}

// makes notes the relation that the statement creates.
func (s *Statement) makes(rv *pg_query.RangeVar, st State) {
	s.ChangesCatalogue = true
	if rv != nil && st.temporary(rv) {
		s.CreatesTemporary = rv.Relname
	}
}

// leavesCatalogue reports whether a statement that returns no rows leaves relations and schemas as they are.
// DO and CALL may change anything.
func leavesCatalogue(m proto.Message) bool {
	switch m.(type) {
	case *pg_query.TruncateStmt, *pg_query.LockStmt, *pg_query.ConstraintsSetStmt, *pg_query.CheckPointStmt,
		*pg_query.VacuumStmt, *pg_query.ReindexStmt, *pg_query.ClusterStmt, *pg_query.RefreshMatViewStmt,
		*pg_query.CommentStmt, *pg_query.GrantStmt, *pg_query.GrantRoleStmt, *pg_query.IndexStmt:
		return true
	}
	return false
}
