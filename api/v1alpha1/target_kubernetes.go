package v1alpha1

// KubernetesTarget is a Kubernetes API server: the pod's own by default.
type KubernetesTarget struct {
	// credentials is a kubeconfig Secret (key kubeconfig) for another account or cluster. Default: the pod's own
	// service account, its token in the sidecar alone.
	//
	// +optional
	Credentials *Credentials `json:"credentials,omitempty"`
	// +kubebuilder:validation:MaxItems=128
	// +listType=map
	// +listMapKey=name
	// +optional
	Rules []KubernetesRule `json:"rules,omitempty"`
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Masking []StreamMasking `json:"masking,omitempty"`
}

// KubernetesRule is one row of the rule list.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'RequireApproval' || !has(self.approval)",message="approval belongs to action RequireApproval",fieldPath=".approval"
type KubernetesRule struct {
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// +optional
	Match KubernetesMatch `json:"match,omitempty"`
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	When string `json:"when,omitempty"`
	// +required
	Action Action `json:"action"`
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	Approval *Approval `json:"approval,omitempty"`
}

// KubernetesMatch matches an API request, or the command of exec and attach.
type KubernetesMatch struct {
	// verbs as RBAC names them; exec, attach and portforward are create.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Verbs []string `json:"verbs,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	APIGroups []string `json:"apiGroups,omitempty"`
	// resources as RBAC names them: pods, pods/exec, *. An Allow rule lets exec, attach and portforward through only if
	// it names the subresource (pods/exec, pods/*), and proxy and serviceaccounts/token only if it spells it out.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Resources []string `json:"resources,omitempty"`
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// names are globs over object names.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
	// containers of exec and attach.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Containers []string `json:"containers,omitempty"`
	// programs that exec runs, shells looked through: globs over the program's name, or over its path where one holds
	// a slash.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +optional
	Programs []string `json:"programs,omitempty"`
	// arguments of the program that exec runs: globs, or regular expressions (RE2) between slashes, each of which some
	// argument must match. An Allow rule must cover every argument by some of them.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	// +optional
	Arguments []string `json:"arguments,omitempty"`
	// unresolved matches commands of exec of which something cannot be known before they run (true), or everything is
	// known (false). An Allow rule with programs or arguments other than * is for the latter alone unless it says true.
	//
	// +optional
	Unresolved *bool `json:"unresolved,omitempty"`
	// tty of exec and attach: whether a terminal was asked for.
	//
	// +optional
	TTY *bool `json:"tty,omitempty"`
	// interactive sessions, whose commands nobody sees beforehand: attach with standard input, and exec of a shell that
	// reads its commands there. An Allow rule is for them only if it says true.
	//
	// +optional
	Interactive *bool `json:"interactive,omitempty"`
	// ports of port-forward.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=set
	// +optional
	Ports []Port `json:"ports,omitempty"`
}
