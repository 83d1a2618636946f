package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// fixedTags are the statements whose command tag says nothing more than their kind.
func fixedTag(m proto.Message) string {
	switch m.(type) {
	case *pg_query.InsertStmt:
		return "INSERT"
	case *pg_query.DeleteStmt:
		return "DELETE"
	case *pg_query.UpdateStmt:
		return "UPDATE"
	case *pg_query.MergeStmt:
		return "MERGE"
	case *pg_query.DeclareCursorStmt:
		return "DECLARE CURSOR"
	case *pg_query.ClosePortalStmt:
		return "CLOSE CURSOR"
	case *pg_query.CreateSchemaStmt:
		return "CREATE SCHEMA"
	case *pg_query.CreateStmt:
		return "CREATE TABLE"
	case *pg_query.CreateTableSpaceStmt:
		return "CREATE TABLESPACE"
	case *pg_query.DropTableSpaceStmt:
		return "DROP TABLESPACE"
	case *pg_query.AlterTableSpaceOptionsStmt:
		return "ALTER TABLESPACE"
	case *pg_query.CreateExtensionStmt:
		return "CREATE EXTENSION"
	case *pg_query.AlterExtensionStmt, *pg_query.AlterExtensionContentsStmt:
		return "ALTER EXTENSION"
	case *pg_query.CreateFdwStmt:
		return "CREATE FOREIGN DATA WRAPPER"
	case *pg_query.AlterFdwStmt:
		return "ALTER FOREIGN DATA WRAPPER"
	case *pg_query.CreateForeignServerStmt:
		return "CREATE SERVER"
	case *pg_query.AlterForeignServerStmt:
		return "ALTER SERVER"
	case *pg_query.CreateForeignTableStmt:
		return "CREATE FOREIGN TABLE"
	case *pg_query.CreateUserMappingStmt:
		return "CREATE USER MAPPING"
	case *pg_query.AlterUserMappingStmt:
		return "ALTER USER MAPPING"
	case *pg_query.DropUserMappingStmt:
		return "DROP USER MAPPING"
	case *pg_query.ImportForeignSchemaStmt:
		return "IMPORT FOREIGN SCHEMA"
	case *pg_query.CreatePolicyStmt:
		return "CREATE POLICY"
	case *pg_query.AlterPolicyStmt:
		return "ALTER POLICY"
	case *pg_query.CreateAmStmt:
		return "CREATE ACCESS METHOD"
	case *pg_query.CreateTrigStmt:
		return "CREATE TRIGGER"
	case *pg_query.CreateEventTrigStmt:
		return "CREATE EVENT TRIGGER"
	case *pg_query.AlterEventTrigStmt:
		return "ALTER EVENT TRIGGER"
	case *pg_query.CreatePLangStmt:
		return "CREATE LANGUAGE"
	case *pg_query.CreateRoleStmt:
		return "CREATE ROLE"
	case *pg_query.AlterRoleStmt, *pg_query.AlterRoleSetStmt:
		return "ALTER ROLE"
	case *pg_query.DropRoleStmt:
		return "DROP ROLE"
	case *pg_query.CreateSeqStmt:
		return "CREATE SEQUENCE"
	case *pg_query.AlterSeqStmt:
		return "ALTER SEQUENCE"
	case *pg_query.CreateDomainStmt:
		return "CREATE DOMAIN"
	case *pg_query.AlterDomainStmt:
		return "ALTER DOMAIN"
	case *pg_query.CreateOpClassStmt:
		return "CREATE OPERATOR CLASS"
	case *pg_query.CreateOpFamilyStmt:
		return "CREATE OPERATOR FAMILY"
	case *pg_query.AlterOpFamilyStmt:
		return "ALTER OPERATOR FAMILY"
	case *pg_query.TruncateStmt:
		return "TRUNCATE TABLE"
	case *pg_query.CommentStmt:
		return "COMMENT"
	case *pg_query.SecLabelStmt:
		return "SECURITY LABEL"
	case *pg_query.IndexStmt:
		return "CREATE INDEX"
	case *pg_query.CreateStatsStmt:
		return "CREATE STATISTICS"
	case *pg_query.AlterStatsStmt:
		return "ALTER STATISTICS"
	case *pg_query.DoStmt:
		return "DO"
	case *pg_query.CallStmt:
		return "CALL"
	case *pg_query.AlterOperatorStmt:
		return "ALTER OPERATOR"
	case *pg_query.AlterTypeStmt, *pg_query.AlterEnumStmt:
		return "ALTER TYPE"
	case *pg_query.RuleStmt:
		return "CREATE RULE"
	case *pg_query.NotifyStmt:
		return "NOTIFY"
	case *pg_query.ListenStmt:
		return "LISTEN"
	case *pg_query.UnlistenStmt:
		return "UNLISTEN"
	case *pg_query.CompositeTypeStmt, *pg_query.CreateEnumStmt, *pg_query.CreateRangeStmt:
		return "CREATE TYPE"
	case *pg_query.ViewStmt:
		return "CREATE VIEW"
	case *pg_query.LoadStmt:
		return "LOAD"
	case *pg_query.CreatedbStmt:
		return "CREATE DATABASE"
	case *pg_query.AlterDatabaseStmt, *pg_query.AlterDatabaseSetStmt, *pg_query.AlterDatabaseRefreshCollStmt:
		return "ALTER DATABASE"
	case *pg_query.DropdbStmt:
		return "DROP DATABASE"
	case *pg_query.AlterSystemStmt:
		return "ALTER SYSTEM"
	case *pg_query.ClusterStmt:
		return "CLUSTER"
	case *pg_query.ExplainStmt:
		return "EXPLAIN"
	case *pg_query.RefreshMatViewStmt:
		return "REFRESH MATERIALIZED VIEW"
	case *pg_query.CheckPointStmt:
		return "CHECKPOINT"
	case *pg_query.LockStmt:
		return "LOCK TABLE"
	case *pg_query.ConstraintsSetStmt:
		return "SET CONSTRAINTS"
	case *pg_query.ReindexStmt:
		return "REINDEX"
	case *pg_query.CreateConversionStmt:
		return "CREATE CONVERSION"
	case *pg_query.CreateCastStmt:
		return "CREATE CAST"
	case *pg_query.CreateTransformStmt:
		return "CREATE TRANSFORM"
	case *pg_query.PrepareStmt:
		return "PREPARE"
	case *pg_query.ExecuteStmt:
		return "EXECUTE"
	case *pg_query.DropOwnedStmt:
		return "DROP OWNED"
	case *pg_query.ReassignOwnedStmt:
		return "REASSIGN OWNED"
	case *pg_query.AlterTSDictionaryStmt:
		return "ALTER TEXT SEARCH DICTIONARY"
	case *pg_query.AlterTSConfigurationStmt:
		return "ALTER TEXT SEARCH CONFIGURATION"
	case *pg_query.CreatePublicationStmt:
		return "CREATE PUBLICATION"
	case *pg_query.AlterPublicationStmt:
		return "ALTER PUBLICATION"
	case *pg_query.CreateSubscriptionStmt:
		return "CREATE SUBSCRIPTION"
	case *pg_query.AlterSubscriptionStmt:
		return "ALTER SUBSCRIPTION"
	case *pg_query.DropSubscriptionStmt:
		return "DROP SUBSCRIPTION"
	case *pg_query.AlterDefaultPrivilegesStmt:
		return "ALTER DEFAULT PRIVILEGES"
	case *pg_query.AlterCollationStmt:
		return "ALTER COLLATION"
	case *pg_query.VariableShowStmt:
		return "SHOW"
	}
	return ""
}

// tagOf is the command tag of a statement as the server would report it (CreateCommandTag in utility.c), with
// two differences that rules need: SELECT INTO is a CREATE TABLE AS, and SET ROLE and SET SESSION AUTHORIZATION
// are told from SET. It is empty for a node that is not a statement of this grammar.
func tagOf(m proto.Message) string {
	if tag := fixedTag(m); tag != "" {
		return tag
	}
	switch s := m.(type) {
	case *pg_query.SelectStmt:
		return selectTag(s)
	case *pg_query.TransactionStmt:
		return transactionTags[s.Kind]
	case *pg_query.FetchStmt:
		if s.Ismove {
			return "MOVE"
		}
		return "FETCH"
	case *pg_query.CopyStmt:
		if s.IsFrom {
			return "COPY FROM"
		}
		return "COPY TO"
	case *pg_query.VariableSetStmt:
		return setTag(s)
	case *pg_query.DiscardStmt:
		return "DISCARD " + map[pg_query.DiscardMode]string{
			pg_query.DiscardMode_DISCARD_ALL: "ALL", pg_query.DiscardMode_DISCARD_PLANS: "PLANS",
			pg_query.DiscardMode_DISCARD_SEQUENCES: "SEQUENCES", pg_query.DiscardMode_DISCARD_TEMP: "TEMP",
		}[s.Target]
	case *pg_query.DeallocateStmt:
		if s.Isall {
			return "DEALLOCATE ALL"
		}
		return "DEALLOCATE"
	case *pg_query.VacuumStmt:
		if s.IsVacuumcmd {
			return "VACUUM"
		}
		return "ANALYZE"
	case *pg_query.GrantStmt:
		return grantTag(s.IsGrant)
	case *pg_query.GrantRoleStmt:
		return grantTag(s.IsGrant) + " ROLE"
	case *pg_query.CreateFunctionStmt:
		if s.IsProcedure {
			return "CREATE PROCEDURE"
		}
		return "CREATE FUNCTION"
	case *pg_query.CreateTableAsStmt:
		if s.Objtype == pg_query.ObjectType_OBJECT_MATVIEW {
			return "CREATE MATERIALIZED VIEW"
		}
		return "CREATE TABLE AS"
	case *pg_query.DropStmt:
		return object("DROP", s.RemoveType)
	case *pg_query.DefineStmt:
		return object("CREATE", s.Kind)
	case *pg_query.AlterTableStmt:
		return object("ALTER", s.Objtype)
	case *pg_query.AlterTableMoveAllStmt:
		return object("ALTER", s.Objtype)
	case *pg_query.AlterFunctionStmt:
		return object("ALTER", s.Objtype)
	case *pg_query.RenameStmt:
		if s.RenameType == pg_query.ObjectType_OBJECT_COLUMN || s.RenameType == pg_query.ObjectType_OBJECT_ATTRIBUTE {
			return object("ALTER", s.RelationType)
		}
		return object("ALTER", s.RenameType)
	case *pg_query.AlterObjectDependsStmt:
		return object("ALTER", s.ObjectType)
	case *pg_query.AlterObjectSchemaStmt:
		return object("ALTER", s.ObjectType)
	case *pg_query.AlterOwnerStmt:
		return object("ALTER", s.ObjectType)
	}
	return ""
}

func object(verb string, t pg_query.ObjectType) string {
	if name := objectNames[t]; name != "" {
		return verb + " " + name
	}
	return ""
}

func grantTag(grant bool) string {
	if grant {
		return "GRANT"
	}
	return "REVOKE"
}

func selectTag(s *pg_query.SelectStmt) string {
	if leftmost(s).IntoClause != nil {
		return "CREATE TABLE AS"
	}
	strength := pg_query.LockClauseStrength_LCS_NONE
	for _, n := range s.LockingClause {
		if l := n.GetLockingClause(); l != nil && l.Strength > strength {
			strength = l.Strength
		}
	}
	switch strength {
	case pg_query.LockClauseStrength_LCS_FORKEYSHARE:
		return "SELECT FOR KEY SHARE"
	case pg_query.LockClauseStrength_LCS_FORSHARE:
		return "SELECT FOR SHARE"
	case pg_query.LockClauseStrength_LCS_FORNOKEYUPDATE:
		return "SELECT FOR NO KEY UPDATE"
	case pg_query.LockClauseStrength_LCS_FORUPDATE:
		return "SELECT FOR UPDATE"
	}
	return "SELECT"
}

var transactionTags = map[pg_query.TransactionStmtKind]string{
	pg_query.TransactionStmtKind_TRANS_STMT_BEGIN:             "BEGIN",
	pg_query.TransactionStmtKind_TRANS_STMT_START:             "START TRANSACTION",
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT:            "COMMIT",
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:          "ROLLBACK",
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:       "ROLLBACK",
	pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT:         "SAVEPOINT",
	pg_query.TransactionStmtKind_TRANS_STMT_RELEASE:           "RELEASE",
	pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:           "PREPARE TRANSACTION",
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   "COMMIT PREPARED",
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
}

func setTag(s *pg_query.VariableSetStmt) string {
	switch {
	case s.Kind == pg_query.VariableSetKind_VAR_RESET, s.Kind == pg_query.VariableSetKind_VAR_RESET_ALL:
		return "RESET"
	case s.Name == "role":
		return "SET ROLE"
	case s.Name == "session_authorization":
		return "SET SESSION AUTHORIZATION"
	}
	return "SET"
}
