// Package policy holds the rules that apply to one pod and decides commands by them.
//
// It is pure: no sockets, no Kubernetes client, no clock. The operator turns AgentPolicies into a Set, the
// sidecar compiles it and asks Decide for every command; the kubectl plugin judges offline with the same code.
package policy

// Set is everything that applies to one pod, as it travels from the operator to the sidecar and as the sidecar
// keeps it over its own restart.
type Set struct {
	// Version grows with every change to any policy in the set; it is opaque to the sidecar, which only echoes
	// it so that the operator can count how many sidecars hold what.
	Version string `json:"version"`
	// MaxAgeSeconds is how long the set may be used without contact to the operator. 0 means without end.
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty"`
	// Policies are all policies bound to the pod, ordered by namespace and name.
	Policies []Policy `json:"policies"`
}

// Policy is one AgentPolicy, defaulted and with its references replaced by lease names.
type Policy struct {
	Namespace   string      `json:"namespace"`
	Name        string      `json:"name"`
	UID         string      `json:"uid"`
	Generation  int64       `json:"generation"`
	Enforcement Enforcement `json:"enforcement"`
	Egress      Egress      `json:"egress"`
	Recording   Recording   `json:"recording"`
	Targets     []Target    `json:"targets,omitempty"`
}

// Enforcement says whether a verdict is carried out.
type Enforcement string

const (
	// Enforce carries out every verdict.
	Enforce Enforcement = "Enforce"
	// Audit decides and records, and refuses nothing.
	Audit Enforcement = "Audit"
)

// Action is what a rule does with a command it matches. Ordered by strictness: Deny, RequireApproval, Allow.
type Action string

const (
	Allow           Action = "Allow"
	RequireApproval Action = "RequireApproval"
	Deny            Action = "Deny"
)

// Egress is what happens to connections that no target is for.
type Egress struct {
	// Unmatched is Allow or Deny.
	Unmatched Action `json:"unmatched"`
	// Allow lists destinations passed through without inspection.
	Allow []Passthrough `json:"allow,omitempty"`
}

// Passthrough is a destination that is not inspected.
type Passthrough struct {
	Hosts []string `json:"hosts"`
	Ports []uint16 `json:"ports"`
}

// Durability says when a command's record must be safe.
type Durability string

const (
	// Spool: approved and denied commands are acknowledged by the operator before anything is forwarded; the
	// rest is sent within a second.
	Spool Durability = "Spool"
	// Acknowledged: every command that is not a plain read waits for the operator's acknowledgement.
	Acknowledged Durability = "Acknowledged"
)

// OnFailure says what happens to new commands when they cannot be recorded.
type OnFailure string

const (
	Block    OnFailure = "Block"
	Continue OnFailure = "Continue"
)

// Recording is the policy's recording section.
type Recording struct {
	Durability Durability `json:"durability"`
	OnFailure  OnFailure  `json:"onFailure"`
}

// Target is one destination that the sidecar terminates. Exactly one of Postgres, SSH and Kubernetes is set.
type Target struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts,omitempty"`
	Port  uint16   `json:"port,omitempty"`
	// Access, when it requires approval, guards every session to the target.
	Access     *Access     `json:"access,omitempty"`
	Postgres   *Postgres   `json:"postgres,omitempty"`
	SSH        *SSH        `json:"ssh,omitempty"`
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`
}

// Access is just-in-time access to a target: an approval per session.
type Access struct {
	Approval           *Approval `json:"approval,omitempty"`
	MaxDurationSeconds int64     `json:"maxDurationSeconds,omitempty"`
}

// Approval is what a RequireApproval verdict asks of people.
type Approval struct {
	Required int32    `json:"required"`
	Groups   []string `json:"groups,omitempty"`
	// TimeoutSeconds bounds the request's life; WaitSeconds how long the agent's command is held for it. With
	// WaitSeconds 0 the command is refused at once with the request's name and may be tried again.
	TimeoutSeconds int64  `json:"timeoutSeconds"`
	WaitSeconds    int64  `json:"waitSeconds"`
	InTransaction  string `json:"inTransaction"` // Refuse or Wait
	Scope          string `json:"scope"`         // Pod or Workload
}

// TLSMode is how the upstream's identity is checked, in libpq's sense of sslmode.
type TLSMode string

const (
	TLSDisable    TLSMode = "Disable"
	TLSRequire    TLSMode = "Require"
	TLSVerifyCA   TLSMode = "VerifyCA"
	TLSVerifyFull TLSMode = "VerifyFull"
)

// Postgres is a PostgreSQL target.
type Postgres struct {
	TLSMode TLSMode `json:"tlsMode"`
	// CAPEM is the upstream's root, resolved by the operator from caFrom. Empty: the system's roots.
	CAPEM []byte `json:"caPEM,omitempty"`
	// HasCredentials says that user and password (or client certificate) are leased from the operator.
	HasCredentials bool `json:"hasCredentials,omitempty"`
	// CredentialsID names the credential without being one (the Secret's namespace/name): where two policies
	// have a target for one destination, equal IDs say that they mean the same credential. Empty: unlike any.
	CredentialsID string `json:"credentialsID,omitempty"`
	// AgentPassword is what agents are asked for, by SCRAM; empty: nothing. It is a placeholder and no secret.
	AgentPassword string    `json:"agentPassword,omitempty"`
	Rules         []Rule    `json:"rules,omitempty"`
	DefaultAction Action    `json:"defaultAction"`
	Unrecognised  Action    `json:"unrecognised,omitempty"` // Deny (default) or RequireApproval
	Masking       []Masking `json:"masking,omitempty"`
	Inference     Action    `json:"inference,omitempty"` // "", Deny or RequireApproval
	// Refusals change the list of what is refused whatever the rules say.
	Refusals Refusals `json:"refusals,omitzero"`
	Limits   Limits   `json:"limits"`
}

// Limits bound one statement. Zero means no limit.
type Limits struct {
	Rows                int64 `json:"rows,omitempty"`
	Bytes               int64 `json:"bytes,omitempty"`
	StatementTimeoutMS  int64 `json:"statementTimeoutMS,omitempty"`
	MaxStatementBytes   int64 `json:"maxStatementBytes,omitempty"`
	MaxConnections      int64 `json:"maxConnections,omitempty"`
	MaxPendingApprovals int64 `json:"maxPendingApprovals,omitempty"`
}

// SSH is an SSH target.
type SSH struct {
	// User is the user on the server whatever the agent asks for; Users are those that the agent may choose from. Of
	// the two at most one is set; without both, the credential names the user.
	User  string   `json:"user,omitempty"`
	Users []string `json:"users,omitempty"`
	// KnownHosts is the server's identity, in the format of OpenSSH's known_hosts, resolved by the operator.
	KnownHosts []byte `json:"knownHosts,omitempty"`
	// HasCredentials and CredentialsID are as those of Postgres.
	HasCredentials bool   `json:"hasCredentials,omitempty"`
	CredentialsID  string `json:"credentialsID,omitempty"`
	// Certified says that the credential is a certificate authority, which signs a key of the sidecar's for each
	// connection.
	Certified bool `json:"certified,omitempty"`
	// Interpret says that a script that would not run as it is is interpreted, and each of its commands judged as it
	// comes.
	Interpret     bool      `json:"interpret,omitempty"`
	Rules         []Rule    `json:"rules,omitempty"`
	DefaultAction Action    `json:"defaultAction"`
	Masking       []Masking `json:"masking,omitempty"`
}

// Kubernetes is a Kubernetes API target.
type Kubernetes struct {
	// HasCredentials says that a kubeconfig's credential is leased from the operator; else it is the pod's own
	// service account.
	HasCredentials bool `json:"hasCredentials,omitempty"`
	// CredentialsID is as for Postgres.
	CredentialsID string    `json:"credentialsID,omitempty"`
	Rules         []Rule    `json:"rules,omitempty"`
	DefaultAction Action    `json:"defaultAction"`
	Masking       []Masking `json:"masking,omitempty"`
}

// Rule is one row of a rule list, read top-down; the first match decides.
type Rule struct {
	Name     string    `json:"name"`
	Match    Match     `json:"match"`
	When     string    `json:"when,omitempty"` // CEL over the command
	Action   Action    `json:"action"`
	Message  string    `json:"message,omitempty"`
	Approval *Approval `json:"approval,omitempty"`
}

// Match is a conjunction: every field that is set must match. An empty Match matches every command.
//
// A list of objects (tables, columns, functions) matches an Allow rule only if every object of the command is
// covered by it, and a Deny or RequireApproval rule if any is: a rule that permits must cover the whole command,
// a rule that forbids needs only one reason.
type Match struct {
	// PostgreSQL.
	Commands   []string `json:"commands,omitempty"`   // command tags or their first word: DROP, DROP TABLE, SELECT
	Tables     []string `json:"tables,omitempty"`     // schema.table globs
	Columns    []string `json:"columns,omitempty"`    // schema.table.column globs
	Functions  []string `json:"functions,omitempty"`  // schema.function or function globs
	Unfiltered *bool    `json:"unfiltered,omitempty"` // UPDATE or DELETE without WHERE
	// SSH and Kubernetes: simple commands.
	Programs   []string `json:"programs,omitempty"`   // globs over the name; over the path where one holds a slash
	Arguments  []string `json:"arguments,omitempty"`  // globs, or regular expressions between slashes
	Unresolved *bool    `json:"unresolved,omitempty"` // something of the command is not known
	// SSH.
	Subsystems []string `json:"subsystems,omitempty"`
	Paths      []string `json:"paths,omitempty"`
	Operations []string `json:"operations,omitempty"` // of sftp and scp: read, write, remove
	Forwarding []string `json:"forwarding,omitempty"`
	Addresses  []string `json:"addresses,omitempty"` // of forwardings: globs over host:port or a path
	Users      []string `json:"users,omitempty"`     // on the server
	PTY        *bool    `json:"pty,omitempty"`
	// Kubernetes.
	Verbs       []string `json:"verbs,omitempty"`
	APIGroups   []string `json:"apiGroups,omitempty"`
	Resources   []string `json:"resources,omitempty"` // resource or resource/subresource
	Namespaces  []string `json:"namespaces,omitempty"`
	Names       []string `json:"names,omitempty"`
	Containers  []string `json:"containers,omitempty"`
	TTY         *bool    `json:"tty,omitempty"`
	Interactive *bool    `json:"interactive,omitempty"` // attach with input, a shell that reads its commands
	Ports       []uint16 `json:"ports,omitempty"`       // of port-forward
}

// Method is how a protected value is replaced.
type Method string

const (
	MaskRedact  Method = "Redact"
	MaskPartial Method = "Partial" // keep the last four characters
	MaskHash    Method = "Hash"    // keyed, so that equal values stay equal
	MaskNull    Method = "Null"
)

// Masking protects columns by name, or whatever the detectors find, by one method (default Redact).
type Masking struct {
	Columns   []string `json:"columns,omitempty"`   // schema.table.column, globs allowed
	Detectors []string `json:"detectors,omitempty"` // CreditCard, Email, IBAN, USSSN, CloudKey, PrivateKey
	Pattern   string   `json:"pattern,omitempty"`   // RE2, on named columns or streams only
	Method    Method   `json:"method,omitempty"`
}
