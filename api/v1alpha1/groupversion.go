// Package v1alpha1 is the API of Chaperone: AgentPolicy, ApprovalRequest and SessionRecording.
//
// +kubebuilder:object:generate=true
// +groupName=chaperone.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "chaperone.dev", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme registers the types of this package.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&AgentPolicy{}, &AgentPolicyList{},
		&ApprovalRequest{}, &ApprovalRequestList{},
		&SessionRecording{}, &SessionRecordingList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
