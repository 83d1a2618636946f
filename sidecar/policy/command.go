package policy

// Protocol names what a connection speaks.
type Protocol string

const (
	ProtocolPostgres   Protocol = "postgres"
	ProtocolSSH        Protocol = "ssh"
	ProtocolKubernetes Protocol = "kubernetes"
)

// Command is one thing an agent asks for, as its protocol's recogniser understood it. Exactly one of the
// protocol fields is set, or Unrecognised is non-empty and none is.
type Command struct {
	Protocol Protocol
	// Text is what a person reads: the source text of the command, unmasked and untruncated.
	Text string
	// Unrecognised says why the command could not be understood; it is then never forwarded unless the policy
	// asks for an approval of such commands.
	Unrecognised string
	SQL          *SQL
	SSH          *SSHRequest
	Kubernetes   *KubernetesRequest
}

// of is the protocol whose field is set, empty where none is.
func (c *Command) of() Protocol {
	switch {
	case c.SQL != nil:
		return ProtocolPostgres
	case c.SSH != nil:
		return ProtocolSSH
	case c.Kubernetes != nil:
		return ProtocolKubernetes
	}
	return ""
}

// refused is what is refused whatever the rules say, and why; empty where the rules decide.
func (c *Command) refused() (what, why string) {
	switch c.of() {
	case ProtocolPostgres:
		return c.SQL.Command, c.SQL.Refused
	case ProtocolSSH:
		return c.SSH.what(), c.SSH.Refused
	case ProtocolKubernetes:
		return c.Kubernetes.what(), c.Kubernetes.Refused
	}
	return "", ""
}

// control says that the command only steers the session: rules that match it count, a target's defaultAction does not.
func (c *Command) control() bool {
	return c.SQL != nil && c.SQL.Control || c.Kubernetes != nil && c.Kubernetes.Discovery || c.SSH != nil && c.SSH.Operation == OperationRealpath
}

// SQL is one PostgreSQL statement, or one statement nested in another (a data-modifying CTE, EXPLAIN's inner
// statement): a recogniser returns each as a Command of its own, and the strictest verdict counts.
type SQL struct {
	// Command is the command tag without row counts, in upper case: SELECT, DROP TABLE, COPY TO.
	Command string
	// Via are the tags of the statements that this one is wrapped in, outermost first (EXPLAIN, PREPARE, DECLARE
	// CURSOR), and of those whose work it does (SELECT for COPY TO). A rule that forbids matches on them too.
	Via []string
	// Control says that the statement only steers the session (BEGIN, COMMIT, SHOW, harmless SET, DEALLOCATE):
	// rules that match it count, a target's defaultAction does not.
	Control bool
	// Tables are all relations that the statement names, schema-qualified.
	Tables []Table
	// Columns are columns named as schema.table.column where they could be resolved, else *.*.column.
	Columns []string
	// Functions are all functions called, schema-qualified where the statement qualifies them.
	Functions []string
	// Unfiltered is true for UPDATE and DELETE without a WHERE clause (also WHERE true and other conditions that
	// look at no column of the table), and for TRUNCATE.
	Unfiltered bool
	// Refused names why the statement is refused whatever the rules say (a function that takes SQL as text,
	// server-side file access, replication). Empty: judge by the rules.
	Refused string
	// Guarded names why the statement is refused by every policy that does not exempt the group.
	Guarded []Guard
	// Mentions are names in a definition (of an operator, an aggregate, a cast, a trigger) of which any may be that of
	// a function which it will call.
	Mentions []string
	// Opaque says that the statement's effect cannot be seen (DO, CALL, untrusted languages).
	Opaque bool
	// ReadOnly is true for a statement that only reads (used by recording durability).
	ReadOnly bool
	// Launders says how values of a protected column would come to where they cannot be masked (INSERT ...
	// SELECT, CREATE TABLE AS, a function that may keep them): refused where a policy masks. From the lineage.
	Launders string
	// Infers names a protected column that is used outside plain output (a predicate, an ordering): refused or
	// sent for approval where a policy says inference. From the lineage.
	Infers string
	// Fingerprint is literal-free: equal for statements that differ only in constants.
	Fingerprint string
}

// Guard is one reason to refuse a statement that a policy may leave to its rules.
type Guard struct {
	Group RefusalGroup
	Why   string
}

// Table is a relation and how it is used.
type Table struct {
	// Schema is resolved through the session's search_path where the statement does not name it; empty for a
	// name that could be in any schema.
	Schema string
	Name   string
	Write  bool
	// Candidates are further schemas that the name could be in, beside Schema: where the search_path has
	// several schemas and nothing is known of what they hold, or a temporary table could shadow the name. A
	// rule that forbids matches if any candidate does, a rule that permits only if all do.
	Candidates []string
}

// Verdict is what was decided about a command.
type Verdict struct {
	Action Action
	// Policy is namespace/name of the policy that decided; empty where no policy speaks for the destination.
	Policy     string
	Generation int64
	// Rule is the rule's name, or one of the built-in names (RuleDefault and the others).
	Rule string
	// Message is for the agent: the rule's own, or a sentence that names what was refused.
	Message string
	// Approval is set for RequireApproval.
	Approval *Approval
	// Audited is the action that an Audit policy would have carried out; empty when nothing was weakened.
	Audited Action
	// Unevaluated says that a rule's condition could not be evaluated. Asked again, the verdict may be another: it is
	// not to be kept.
	Unevaluated bool
}
