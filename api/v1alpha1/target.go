package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Target is one destination. Exactly one of postgres, ssh and kubernetes is set.
//
// +kubebuilder:validation:XValidation:rule="self.name != 'egress'",message="egress is the name under which connections without a target are recorded; choose another",fieldPath=".name"
// +kubebuilder:validation:XValidation:rule="has(self.kubernetes) || (has(self.hosts) && size(self.hosts) > 0)",message="hosts is required for postgres and ssh targets",fieldPath=".hosts"
// +kubebuilder:validation:XValidation:rule="has(self.kubernetes) || has(self.port)",message="port is required for postgres and ssh targets",fieldPath=".port"
type Target struct {
	// name of the target, unique in the policy.
	//
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// hosts are the names and addresses by which agents reach the target; the first is what the sidecar dials.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Hosts []Host `json:"hosts,omitempty"`
	// port of the target.
	//
	// +optional
	Port *Port `json:"port,omitempty"`
	// access makes every session to the target wait for a person: just-in-time access.
	//
	// +optional
	Access *Access `json:"access,omitempty"`
	// +optional
	Postgres *PostgresTarget `json:"postgres,omitempty"`
	// +optional
	SSH *SSHTarget `json:"ssh,omitempty"`
	// +optional
	Kubernetes *KubernetesTarget `json:"kubernetes,omitempty"`
}

// Access is approval for whole sessions.
//
// +kubebuilder:validation:XValidation:rule="!has(self.approval) || !has(self.approval.maxDuration)",message="access.maxDuration bounds what is granted for sessions",fieldPath=".approval"
type Access struct {
	// approval that every session waits for before a credential is leased.
	//
	// +optional
	Approval *Approval `json:"approval,omitempty"`
	// maxDuration ends a session, and the lease of its credential. A grant for a duration is for any number of
	// sessions within it, and never longer than this. Default: a session that was granted once has no end; a grant
	// for a duration ends with its request.
	//
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// Approval is what is asked of people.
type Approval struct {
	// required is how many distinct people must approve.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	// +optional
	Required int32 `json:"required,omitempty"`
	// groups, where set, are the only groups whose members may decide.
	//
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Groups []string `json:"groups,omitempty"`
	// timeout is how long the request stands. Default 15m.
	//
	// +kubebuilder:default="15m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// wait is how long the agent's command is held for a decision. 0s answers at once with the request's name,
	// and the same command succeeds once approved. Default: timeout.
	//
	// +optional
	Wait *metav1.Duration `json:"wait,omitempty"`
	// maxDuration is the longest that a grant may be used again for. An approver who gives a duration may give less,
	// never more. Default: until the request expires. Without an approver's duration a grant is for one use.
	//
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
	// inTransaction is Refuse (a command in an open transaction is refused with the request's name, so that no
	// lock is held while people think) or Wait.
	//
	// +kubebuilder:default=Refuse
	// +kubebuilder:validation:Enum=Refuse;Wait
	// +optional
	InTransaction string `json:"inTransaction,omitempty"`
	// scope of a grant: Pod, or Workload for any pod of the same owner, service account and image digests.
	//
	// +kubebuilder:default=Pod
	// +kubebuilder:validation:Enum=Pod;Workload
	// +optional
	Scope string `json:"scope,omitempty"`
}

// ValueFrom is where public material comes from.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapKeyRef) != has(self.secretKeyRef)",message="exactly one of configMapKeyRef and secretKeyRef is required"
type ValueFrom struct {
	// +optional
	ConfigMapKeyRef *corev1.ConfigMapKeySelector `json:"configMapKeyRef,omitempty"`
	// +optional
	SecretKeyRef *corev1.SecretKeySelector `json:"secretKeyRef,omitempty"`
}

// Credentials is what the sidecar presents upstream; the agent never holds it.
type Credentials struct {
	// secretRef names a Secret of the policy's namespace: kubernetes.io/basic-auth, kubernetes.io/tls or
	// kubernetes.io/ssh-auth.
	//
	// +required
	SecretRef SecretRef `json:"secretRef"`
}

// SecretRef names a Secret in the policy's namespace.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name"`
}

// PostgresTarget is a PostgreSQL server.
type PostgresTarget struct {
	// tls toward the server.
	//
	// +kubebuilder:default={mode: VerifyFull}
	// +optional
	TLS PostgresTLS `json:"tls,omitempty"`
	// credentials for the server. Without them the server must accept the agent's user without a password.
	//
	// +optional
	Credentials *Credentials `json:"credentials,omitempty"`
	// agentPassword is asked of agents, by SCRAM, so that a client with channel_binding=require can bind its connection
	// to the certificate that the sidecar shows it. It is a placeholder that anybody may read, never the server's
	// password. Without it agents are asked for nothing, whatever password they have. Printable ASCII.
	//
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	// +optional
	AgentPassword string `json:"agentPassword,omitempty"`
	// rules are read top-down; the first match decides.
	//
	// +kubebuilder:validation:MaxItems=128
	// +listType=map
	// +listMapKey=name
	// +optional
	Rules []PostgresRule `json:"rules,omitempty"`
	// defaultAction for commands that no rule matches.
	//
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
	// unrecognised is what happens to statements that cannot be understood: Deny or RequireApproval.
	//
	// +kubebuilder:default=Deny
	// +kubebuilder:validation:Enum=Deny;RequireApproval
	// +optional
	Unrecognised Action `json:"unrecognised,omitempty"`
	// masking replaces protected values before the agent sees them.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Masking []PostgresMasking `json:"masking,omitempty"`
	// inference is what happens when a protected column is used other than as plain output (predicate, ordering,
	// source of a write): Deny, RequireApproval, or Allow.
	//
	// +kubebuilder:default=Allow
	// +optional
	Inference Action `json:"inference,omitempty"`
	// refusals change the list of functions and relations that no rule can allow.
	//
	// +optional
	Refusals *PostgresRefusals `json:"refusals,omitempty"`
	// +optional
	Limits *PostgresLimits `json:"limits,omitempty"`
}

// PostgresRefusals add to the built-in list of functions and relations that are refused before any rule is asked, and
// take from it.
type PostgresRefusals struct {
	// functions are globs over function or schema.function that no statement may call.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=140
	// +listType=set
	// +optional
	Functions []string `json:"functions,omitempty"`
	// tables are globs over schema.table that no statement may use.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:Pattern=`^[^.]+\.[^.]+$`
	// +kubebuilder:validation:items:MaxLength=140
	// +listType=set
	// +optional
	Tables []string `json:"tables,omitempty"`
	// exempt are groups of the built-in list that are left to the rules.
	//
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=ServerControl;Sessions;Statistics;Connections
	// +listType=set
	// +optional
	Exempt []string `json:"exempt,omitempty"`
}

// PostgresTLS is TLS toward the server, in the sense of libpq's sslmode.
type PostgresTLS struct {
	// mode is Disable, Require, VerifyCA or VerifyFull.
	//
	// +kubebuilder:default=VerifyFull
	// +kubebuilder:validation:Enum=Disable;Require;VerifyCA;VerifyFull
	// +optional
	Mode string `json:"mode,omitempty"`
	// caFrom is the root that the server's certificate is checked against. Default: the system's roots.
	//
	// +optional
	CAFrom *ValueFrom `json:"caFrom,omitempty"`
}

// PostgresRule is one row of the rule list.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'RequireApproval' || !has(self.approval)",message="approval belongs to action RequireApproval",fieldPath=".approval"
type PostgresRule struct {
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// match: every field that is set must match; an empty match matches every command.
	//
	// +optional
	Match PostgresMatch `json:"match,omitempty"`
	// when is a CEL expression over command that must be true as well.
	//
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	When string `json:"when,omitempty"`
	// +required
	Action Action `json:"action"`
	// message for the agent.
	//
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	Approval *Approval `json:"approval,omitempty"`
}

// PostgresMatch matches a statement. A list of tables, columns or functions matches an Allow rule only if it
// covers all that the statement names, and a Deny or RequireApproval rule if it names any of them.
type PostgresMatch struct {
	// commands are SQL commands, as command tags (DROP TABLE) or their first word (DROP).
	//
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z]+( [A-Za-z]+)*$`
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Commands []string `json:"commands,omitempty"`
	// tables are globs over schema.table.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:Pattern=`^[^.]+\.[^.]+$`
	// +kubebuilder:validation:items:MaxLength=140
	// +listType=set
	// +optional
	Tables []string `json:"tables,omitempty"`
	// columns are globs over schema.table.column.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:Pattern=`^[^.]+\.[^.]+\.[^.]+$`
	// +kubebuilder:validation:items:MaxLength=210
	// +listType=set
	// +optional
	Columns []string `json:"columns,omitempty"`
	// functions are globs over function or schema.function.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=140
	// +listType=set
	// +optional
	Functions []string `json:"functions,omitempty"`
	// unfiltered matches UPDATE and DELETE without a WHERE clause (true) or with one (false).
	//
	// +optional
	Unfiltered *bool `json:"unfiltered,omitempty"`
}

// PostgresMasking protects named columns, or whatever the detectors find in any column.
//
// +kubebuilder:validation:XValidation:rule="(has(self.columns) && size(self.columns) > 0) || (has(self.detectors) && size(self.detectors) > 0)",message="columns or detectors is required"
// +kubebuilder:validation:XValidation:rule="!has(self.pattern) || (has(self.columns) && size(self.columns) > 0)",message="pattern needs columns",fieldPath=".pattern"
type PostgresMasking struct {
	// columns are globs over schema.table.column.
	//
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:Pattern=`^[^.]+\.[^.]+\.[^.]+$`
	// +kubebuilder:validation:items:MaxLength=210
	// +listType=set
	// +optional
	Columns []string `json:"columns,omitempty"`
	// detectors find values by their form.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	Detectors []Detector `json:"detectors,omitempty"`
	// pattern (RE2) is checked, and kept for what is to be replaced in the named columns. Today a value of theirs is
	// masked whole, whatever the pattern finds in it.
	//
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Pattern string `json:"pattern,omitempty"`
	// method is Redact, Partial (keep the last four characters), Hash (keyed: equal values stay equal) or Null.
	//
	// +kubebuilder:default=Redact
	// +kubebuilder:validation:Enum=Redact;Partial;Hash;Null
	// +optional
	Method string `json:"method,omitempty"`
}

// Detector finds values by their form.
//
// +kubebuilder:validation:Enum=CreditCard;Email;IBAN;USSSN;CloudKey;PrivateKey
type Detector string

// PostgresLimits bound one statement.
type PostgresLimits struct {
	// rows that a statement may return.
	//
	// +kubebuilder:validation:Minimum=1
	// +optional
	Rows *int64 `json:"rows,omitempty"`
	// bytes that a statement may return.
	//
	// +optional
	Bytes *resource.Quantity `json:"bytes,omitempty"`
	// statementTimeout is set on the server for the session.
	//
	// +optional
	StatementTimeout *metav1.Duration `json:"statementTimeout,omitempty"`
}
