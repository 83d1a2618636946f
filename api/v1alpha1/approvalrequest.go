package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ApprovalRequest holds one command of an agent until people have decided. The operator writes what describes the
// request; an approver patches spec.decision:
//
//	kubectl patch apr NAME --type=merge -p '{"spec":{"decision":{"verdict":"Approve","reason":"checked"}}}'
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=apr,categories=chaperone
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.target`
// +kubebuilder:printcolumn:name="Rule",type=string,JSONPath=`.spec.rule`
// +kubebuilder:printcolumn:name="Command",type=string,JSONPath=`.spec.command.text`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ApprovalRequest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec ApprovalRequestSpec `json:"spec"`
	// +optional
	Status ApprovalRequestStatus `json:"status,omitempty"`
}

// ApprovalRequestList is a list of ApprovalRequests.
//
// +kubebuilder:object:root=true
type ApprovalRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApprovalRequest `json:"items"`
}

// ApprovalRequestSpec: all fields but decision and decisions are written once, by the operator.
//
// +kubebuilder:validation:XValidation:rule="self.pod == oldSelf.pod && self.policy == oldSelf.policy && self.rule == oldSelf.rule && self.target == oldSelf.target && self.protocol == oldSelf.protocol && self.command == oldSelf.command && self.approval == oldSelf.approval && self.expiresAt == oldSelf.expiresAt",message="an approval request cannot be changed; decide it with spec.decision"
type ApprovalRequestSpec struct {
	// pod that asks.
	//
	// +required
	Pod RequestingPod `json:"pod"`
	// policy that demands the approval.
	//
	// +required
	Policy PolicyReference `json:"policy"`
	// rule of the policy.
	//
	// +kubebuilder:validation:MaxLength=63
	// +required
	Rule string `json:"rule"`
	// target of the policy.
	//
	// +kubebuilder:validation:MaxLength=63
	// +required
	Target string `json:"target"`
	// +kubebuilder:validation:Enum=postgres;ssh;kubernetes
	// +required
	Protocol string `json:"protocol"`
	// command that will run.
	//
	// +required
	Command RequestedCommand `json:"command"`
	// approval that the rule asks for.
	//
	// +required
	Approval RequestedApproval `json:"approval"`
	// justification in the agent's own words, which nobody has checked: escaped and truncated.
	//
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Justification string `json:"justification,omitempty"`
	// expiresAt ends the request.
	//
	// +required
	ExpiresAt metav1.Time `json:"expiresAt"`

	// decision is write-only: an approver sets it, admission stamps it into decisions with the user's name and
	// clears it.
	//
	// +optional
	Decision *Decision `json:"decision,omitempty"`
	// decisions so far, appended by admission alone; an entry without a valid mac does not count.
	//
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Decisions []StampedDecision `json:"decisions,omitempty"`
}

// RequestingPod identifies who asks.
type RequestingPod struct {
	Name           string    `json:"name"`
	UID            types.UID `json:"uid"`
	ServiceAccount string    `json:"serviceAccount"`
	// owner is the workload, kind/name.
	//
	// +optional
	Owner string `json:"owner,omitempty"`
	// images are the agent containers' images, as name=imageID with its digest.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Images []string `json:"images,omitempty"`
}

// PolicyReference names the policy and the generation that decided.
type PolicyReference struct {
	Name       string    `json:"name"`
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"`
}

// RequestedCommand is what will run.
type RequestedCommand struct {
	// text for people: masked, control characters escaped, truncated.
	//
	// +kubebuilder:validation:MaxLength=8192
	Text string `json:"text"`
	// length of the whole command in bytes.
	Length int64 `json:"length"`
	// sha256 (hex) over what will run: statement and bound values, argv, or body.
	//
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256"`
}

// RequestedApproval is the rule's approval section as it stood.
type RequestedApproval struct {
	// +kubebuilder:validation:Minimum=1
	Required int32 `json:"required"`
	// +listType=atomic
	// +optional
	Groups []string `json:"groups,omitempty"`
	// +listType=atomic
	// +optional
	ExcludeApprovers []string `json:"excludeApprovers,omitempty"`
	// +kubebuilder:validation:Enum=Pod;Workload
	Scope string `json:"scope"`
	// maxDuration is the longest that a grant may be used again for, from its approval. Default: until the request
	// expires.
	//
	// +optional
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// DecisionVerdict is an approver's word.
//
// +kubebuilder:validation:Enum=Approve;Deny
type DecisionVerdict string

const (
	VerdictApprove DecisionVerdict = "Approve"
	VerdictDeny    DecisionVerdict = "Deny"
)

// Decision is what an approver writes.
type Decision struct {
	// +required
	Verdict DecisionVerdict `json:"verdict"`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
	// duration makes the grant usable repeatedly for that long; never beyond spec.approval.maxDuration, or the
	// request's expiry where there is none. Default: once.
	//
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}

// StampedDecision is a decision with who made it.
type StampedDecision struct {
	Verdict DecisionVerdict `json:"verdict"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
	// user is the API server's name for the approver.
	User string `json:"user"`
	// +listType=atomic
	// +optional
	Groups []string `json:"groups,omitempty"`
	// time at which admission saw it.
	Time metav1.Time `json:"time"`
	// mac over the entry and the request it belongs to, by a key that only the operator has.
	MAC string `json:"mac"`
}

// ApprovalPhase is where a request stands.
//
// +kubebuilder:validation:Enum=Pending;Approved;Denied;Expired;Used
type ApprovalPhase string

const (
	PhasePending  ApprovalPhase = "Pending"
	PhaseApproved ApprovalPhase = "Approved"
	PhaseDenied   ApprovalPhase = "Denied"
	PhaseExpired  ApprovalPhase = "Expired"
	PhaseUsed     ApprovalPhase = "Used"
)

// ApprovalRequestStatus is for people and for counting uses; no release reads phase.
type ApprovalRequestStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	Phase ApprovalPhase `json:"phase,omitempty"`
	// message says the same in a sentence.
	//
	// +optional
	Message string `json:"message,omitempty"`
	// approvals counted so far.
	//
	// +optional
	Approvals int32 `json:"approvals,omitempty"`
	// uses of the grant so far, each by one command.
	//
	// +optional
	Uses int32 `json:"uses,omitempty"`
	// grantExpiresAt ends the grant.
	//
	// +optional
	GrantExpiresAt *metav1.Time `json:"grantExpiresAt,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
