package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// SessionRecording describes the log of what one pod did at one target within an hour, or of one terminal. The
// bytes are in the operator's bucket and read through the recordings API:
//
//	kubectl get --raw /apis/logs.chaperone.dev/v1alpha1/namespaces/NS/sessionrecordings/NAME/log
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rec,categories=chaperone
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.target`
// +kubebuilder:printcolumn:name="Commands",type=integer,JSONPath=`.status.counts.commands`
// +kubebuilder:printcolumn:name="Denied",type=integer,JSONPath=`.status.counts.denied`
// +kubebuilder:printcolumn:name="Approved",type=integer,JSONPath=`.status.counts.approved`
// +kubebuilder:printcolumn:name="Masked",type=integer,JSONPath=`.status.counts.masked`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SessionRecording struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec SessionRecordingSpec `json:"spec"`
	// +optional
	Status SessionRecordingStatus `json:"status,omitempty"`
}

// SessionRecordingList is a list of SessionRecordings.
//
// +kubebuilder:object:root=true
type SessionRecordingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SessionRecording `json:"items"`
}

// SessionRecordingSpec says what was recorded; all but legalHold is written once, by the operator.
//
// +kubebuilder:validation:XValidation:rule="self.log == oldSelf.log && self.pod == oldSelf.pod && self.target == oldSelf.target && self.protocol == oldSelf.protocol && self.startTime == oldSelf.startTime",message="a recording cannot be changed; only legalHold can"
type SessionRecordingSpec struct {
	// log is the identity of the log in the bucket.
	//
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	// +required
	Log string `json:"log"`
	// +required
	Pod RecordedPod `json:"pod"`
	// +required
	Target string `json:"target"`
	// +required
	Protocol string `json:"protocol"`
	// policies in force, by name.
	//
	// +listType=atomic
	// +optional
	Policies []string `json:"policies,omitempty"`
	// +required
	StartTime metav1.MicroTime `json:"startTime"`
	// terminal is true for the recording of an interactive terminal.
	//
	// +optional
	Terminal bool `json:"terminal,omitempty"`
	// retention of the bytes after the end.
	//
	// +optional
	Retention *metav1.Duration `json:"retention,omitempty"`
	// legalHold keeps the bytes whatever the retention says; placing and lifting it needs the RBAC verb hold.
	//
	// +optional
	LegalHold bool `json:"legalHold,omitempty"`
}

// RecordedPod identifies who was recorded.
type RecordedPod struct {
	Name           string    `json:"name"`
	UID            types.UID `json:"uid"`
	ServiceAccount string    `json:"serviceAccount"`
	// +optional
	Node string `json:"node,omitempty"`
	// owner is the workload, kind/name.
	//
	// +optional
	Owner string `json:"owner,omitempty"`
}

// RecordingPhase is where a recording stands.
//
// +kubebuilder:validation:Enum=Recording;Complete;Truncated;Lost
type RecordingPhase string

const (
	RecordingRecording RecordingPhase = "Recording"
	RecordingComplete  RecordingPhase = "Complete"
	RecordingTruncated RecordingPhase = "Truncated"
	RecordingLost      RecordingPhase = "Lost"
)

// SessionRecordingStatus counts what is in the log.
type SessionRecordingStatus struct {
	// +optional
	Phase RecordingPhase `json:"phase,omitempty"`
	// +optional
	Counts RecordingCounts `json:"counts,omitempty"`
	// chunks that are durable.
	//
	// +optional
	Chunks int64 `json:"chunks,omitempty"`
	// digest is the hash (hex) of the last durable chunk, which binds all before it.
	//
	// +optional
	Digest string `json:"digest,omitempty"`
	// +optional
	LastWriteTime *metav1.Time `json:"lastWriteTime,omitempty"`
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// RecordingCounts are totals.
type RecordingCounts struct {
	// +optional
	Connections int64 `json:"connections"`
	// +optional
	Commands int64 `json:"commands"`
	// +optional
	Denied int64 `json:"denied"`
	// +optional
	Approved int64 `json:"approved"`
	// +optional
	Masked int64 `json:"masked"`
	// +optional
	Rows int64 `json:"rows"`
	// +optional
	Bytes int64 `json:"bytes"`
}
