package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AgentPolicy says what the pods it selects may reach and do, whom to ask first, what they may not see and how
// it is recorded.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ap,categories=chaperone
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Selected",type=integer,JSONPath=`.status.pods.selected`
// +kubebuilder:printcolumn:name="Protected",type=integer,JSONPath=`.status.pods.protected`
// +kubebuilder:printcolumn:name="Unprotected",type=integer,JSONPath=`.status.pods.unprotected`
// +kubebuilder:printcolumn:name="Targets",type=string,JSONPath=`.spec.targets[*].name`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec AgentPolicySpec `json:"spec"`
	// +optional
	Status AgentPolicyStatus `json:"status,omitempty"`
}

// AgentPolicyList is a list of AgentPolicies.
//
// +kubebuilder:object:root=true
type AgentPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AgentPolicy `json:"items"`
}

// AgentPolicySpec is what the platform team writes.
//
// +kubebuilder:validation:XValidation:rule="!has(self.targets) || self.targets.all(t, (has(t.postgres) ? 1 : 0) + (has(t.ssh) ? 1 : 0) + (has(t.kubernetes) ? 1 : 0) == 1)",message="each target needs exactly one of postgres, ssh and kubernetes",fieldPath=".targets"
type AgentPolicySpec struct {
	// podSelector selects pods of the policy's namespace by their labels at creation; {} selects the whole
	// namespace.
	//
	// +required
	PodSelector metav1.LabelSelector `json:"podSelector"`
	// enforcement is Enforce, or Audit to decide and record and refuse nothing.
	//
	// +kubebuilder:default=Enforce
	// +optional
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// containers is what the agent's containers keep.
	//
	// +optional
	Containers *ContainerRestrictions `json:"containers,omitempty"`
	// trust lists where clients that name their own root file look.
	//
	// +optional
	Trust *Trust `json:"trust,omitempty"`
	// egress is what happens to connections that no target is for.
	//
	// +kubebuilder:default={unmatched: Deny}
	// +optional
	Egress Egress `json:"egress,omitempty"`
	// recording says how safely sessions are recorded, and for how long they are kept.
	//
	// +kubebuilder:default={durability: Spool, onFailure: Block, retention: "720h"}
	// +optional
	Recording Recording `json:"recording,omitempty"`
	// excludeApprovers may never decide a request of this policy, whatever their RBAC says.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	ExcludeApprovers []string `json:"excludeApprovers,omitempty"`
	// targets are the destinations that the sidecar terminates, judges, masks and records.
	//
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Targets []Target `json:"targets,omitempty"`
}

// Enforcement says whether verdicts are carried out.
//
// +kubebuilder:validation:Enum=Enforce;Audit
type Enforcement string

const (
	EnforcementEnforce Enforcement = "Enforce"
	EnforcementAudit   Enforcement = "Audit"
)

// Action is what a rule does with a command that it matches.
//
// +kubebuilder:validation:Enum=Allow;RequireApproval;Deny
type Action string

const (
	ActionAllow           Action = "Allow"
	ActionRequireApproval Action = "RequireApproval"
	ActionDeny            Action = "Deny"
)

// ContainerRestrictions is what agent containers keep; everything else is dropped.
type ContainerRestrictions struct {
	// capabilities that an agent container may have. SETUID, SETGID, NET_RAW, NET_ADMIN, SYS_ADMIN and the like
	// are never among them. Default: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, NET_BIND_SERVICE.
	//
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	Capabilities []AgentCapability `json:"capabilities,omitempty"`
	// requirePinnedImages refuses agent containers whose image has neither a digest nor an explicit runAsUser.
	//
	// +optional
	RequirePinnedImages bool `json:"requirePinnedImages,omitempty"`
}

// AgentCapability is a Linux capability that gives no way around the sidecar.
//
// +kubebuilder:validation:Enum=CHOWN;DAC_OVERRIDE;FOWNER;FSETID;KILL;NET_BIND_SERVICE;SETFCAP;SYS_CHROOT
type AgentCapability corev1.Capability

// Trust is where clients look for certificates.
type Trust struct {
	// paths are absolute paths of files in the agent's images that are overlaid with the pod's CA.
	//
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^/[^:]+$`
	// +kubebuilder:validation:items:MaxLength=4096
	// +listType=set
	// +optional
	Paths []string `json:"paths,omitempty"`
}

// Egress is what happens to connections that no target is for.
type Egress struct {
	// unmatched is Deny, or Allow to pass such connections through uninspected.
	//
	// +kubebuilder:default=Deny
	// +kubebuilder:validation:Enum=Deny;Allow
	// +optional
	Unmatched Action `json:"unmatched,omitempty"`
	// allow lists destinations that are passed through without inspection.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Allow []Passthrough `json:"allow,omitempty"`
}

// Passthrough is a set of destinations that are not inspected. A host is also checked against the SNI of TLS.
type Passthrough struct {
	// hosts are DNS names.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +required
	Hosts []Host `json:"hosts"`
	// ports are TCP ports.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +required
	Ports []Port `json:"ports"`
}

// Host is a DNS name or an IP address.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^([a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*\.?|[0-9a-fA-F:]+)$`
type Host string

// Port is a TCP port.
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type Port int32

// Recording says how safely sessions are recorded.
type Recording struct {
	// durability is Spool (approved and denied commands are acknowledged by the operator before anything is
	// forwarded, the rest is on its way within a second) or Acknowledged (every command that is not a plain read
	// waits for the acknowledgement).
	//
	// +kubebuilder:default=Spool
	// +kubebuilder:validation:Enum=Spool;Acknowledged
	// +optional
	Durability string `json:"durability,omitempty"`
	// onFailure is Block (commands are refused while they cannot be recorded) or Continue (the recording says
	// what is missing).
	//
	// +kubebuilder:default=Block
	// +kubebuilder:validation:Enum=Block;Continue
	// +optional
	OnFailure string `json:"onFailure,omitempty"`
	// retention is how long recordings are kept; the operator's configuration sets a floor. Default 720h.
	//
	// +kubebuilder:default="720h"
	// +optional
	Retention *metav1.Duration `json:"retention,omitempty"`
}

// AgentPolicyStatus is what the operator saw.
type AgentPolicyStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready (the policy is in force as written), Protecting (every selected pod runs behind a
	// sidecar), and once a PostgreSQL target was connected to LeastPrivilege (the roles of its credentials reach no
	// more than data).
	//
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// pods counts the pods that the policy selects.
	//
	// +optional
	Pods PodCounts `json:"pods,omitempty"`
	// sidecars counts how many sidecars hold which generation of the policy.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=generation
	// +optional
	Sidecars []GenerationCount `json:"sidecars,omitempty"`
}

// PodCounts counts selected pods.
type PodCounts struct {
	// +optional
	Selected int32 `json:"selected"`
	// +optional
	Protected int32 `json:"protected"`
	// unprotected pods run without a sidecar: since before the policy, or refused; the Protecting condition
	// names them.
	//
	// +optional
	Unprotected int32 `json:"unprotected"`
}

// GenerationCount is how many sidecars hold one generation.
type GenerationCount struct {
	Generation int64 `json:"generation"`
	Count      int32 `json:"count"`
}

// Condition types and reasons of an AgentPolicy.
const (
	ConditionReady      = "Ready"
	ConditionProtecting = "Protecting"
	// ConditionLeastPrivilege is there once some sidecar has logged in to a PostgreSQL target of the policy.
	ConditionLeastPrivilege = "LeastPrivilege"
)
