package v1alpha1

// SSHTarget is an SSH server.
type SSHTarget struct {
	// user on the server; the agent's own choice is ignored.
	//
	// +kubebuilder:validation:MaxLength=64
	// +optional
	User string `json:"user,omitempty"`
	// +optional
	Credentials *SSHCredentials `json:"credentials,omitempty"`
	// knownHosts is the server's host key, in the format of OpenSSH's known_hosts; mandatory before any
	// credential is shown.
	//
	// +required
	KnownHosts ValueFrom `json:"knownHosts"`
	// +kubebuilder:validation:MaxItems=128
	// +listType=map
	// +listMapKey=name
	// +optional
	Rules []SSHRule `json:"rules,omitempty"`
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Masking []StreamMasking `json:"masking,omitempty"`
}

// SSHCredentials is a key or password, or a certificate authority that signs user certificates for minutes.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.certificateAuthorityRef)",message="exactly one of secretRef and certificateAuthorityRef is required"
type SSHCredentials struct {
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// +optional
	CertificateAuthorityRef *SecretRef `json:"certificateAuthorityRef,omitempty"`
}

// SSHRule is one row of the rule list.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'RequireApproval' || !has(self.approval)",message="approval belongs to action RequireApproval",fieldPath=".approval"
type SSHRule struct {
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// +optional
	Match SSHMatch `json:"match,omitempty"`
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

// SSHMatch matches a command, subsystem, file operation or forwarding.
type SSHMatch struct {
	// programs are globs over the program's name, or over its path where one holds a slash.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +optional
	Programs []string `json:"programs,omitempty"`
	// arguments are globs, or regular expressions (RE2) between slashes, each of which some argument must match. An
	// Allow rule must cover every argument by some of them.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	// +optional
	Arguments []string `json:"arguments,omitempty"`
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Subsystems []string `json:"subsystems,omitempty"`
	// paths are globs over sftp paths, resolved on the server.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=4096
	// +listType=set
	// +optional
	Paths []string `json:"paths,omitempty"`
	// forwarding kinds.
	//
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Enum=Local;Remote;StreamLocal;Agent;X11;Tun
	// +listType=set
	// +optional
	Forwarding []string `json:"forwarding,omitempty"`
	// +optional
	PTY *bool `json:"pty,omitempty"`
	// unresolved matches commands of which something cannot be known before they run (true), or everything is known
	// (false). An Allow rule with programs or arguments other than * is for the latter alone unless it says true.
	//
	// +optional
	Unresolved *bool `json:"unresolved,omitempty"`
}

// StreamMasking replaces what the detectors or the pattern find in a stream.
//
// +kubebuilder:validation:XValidation:rule="(has(self.detectors) && size(self.detectors) > 0) || (has(self.pattern) && size(self.pattern) > 0)",message="detectors or pattern is required"
type StreamMasking struct {
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	Detectors []Detector `json:"detectors,omitempty"`
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Pattern string `json:"pattern,omitempty"`
}
