package v1alpha1

// SSHTarget is an SSH server.
//
// +kubebuilder:validation:XValidation:rule="!has(self.user) || !has(self.users) || size(self.users) == 0",message="at most one of user and users may be set",fieldPath=".users"
type SSHTarget struct {
	// user on the server; the agent's own choice is ignored. Without user and users the credential's Secret names
	// the user (key username).
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[^\s\x00-\x1f\x7f]*$`
	// +optional
	User string `json:"user,omitempty"`
	// users are those that an agent may log in as; it chooses one, and any other is refused.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:Pattern=`^[^\s\x00-\x1f\x7f]*$`
	// +listType=set
	// +optional
	Users []string `json:"users,omitempty"`
	// credentials for the server. Without them the server must accept the user without any.
	//
	// +optional
	Credentials *SSHCredentials `json:"credentials,omitempty"`
	// knownHosts is the server's host key, in the format of OpenSSH's known_hosts (hashed names, @cert-authority and
	// @revoked lines too), under one of the target's hosts; mandatory before any credential is shown.
	//
	// +required
	KnownHosts ValueFrom `json:"knownHosts"`
	// +kubebuilder:validation:MaxItems=128
	// +listType=map
	// +listMapKey=name
	// rules are read top-down; the first match decides.
	//
	// +optional
	Rules []SSHRule `json:"rules,omitempty"`
	// defaultAction for commands and files that no rule matches. Terminals, interactive sessions, subsystems and
	// forwardings are allowed by rules alone.
	//
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
	// shell says what becomes of a command that is a script, more than one command whose words are known, and that would
	// be refused or need an approval. Forward judges it as a whole. Interpret runs the shell's language in the sidecar
	// and judges each command as the words that were made of it, when it comes to it; what is refused in between ends
	// with status 126, and the script goes on as it says itself. Of several policies for one server each
	// has to say so. Default: Forward.
	//
	// +optional
	Shell ShellMode `json:"shell,omitempty"`
	// masking replaces values in what commands and terminals print, before the agent sees it.
	//
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Masking []StreamMasking `json:"masking,omitempty"`
}

// ShellMode says who reads scripts.
//
// +kubebuilder:validation:Enum=Forward;Interpret
type ShellMode string

const (
	ShellForward   ShellMode = "Forward"
	ShellInterpret ShellMode = "Interpret"
)

// SSHCredentials is a key or password, or a certificate authority that signs user certificates for minutes.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.certificateAuthorityRef)",message="exactly one of secretRef and certificateAuthorityRef is required"
type SSHCredentials struct {
	// secretRef names a Secret of the policy's namespace: kubernetes.io/ssh-auth or kubernetes.io/basic-auth.
	//
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// certificateAuthorityRef names a Secret of type kubernetes.io/ssh-auth with the key of an authority that the
	// server trusts (TrustedUserCAKeys). The operator signs a certificate for each connection: for the user alone,
	// for minutes, with a key id that names the pod.
	//
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
	// subsystems are globs over the names of subsystems; sftp is one.
	//
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Subsystems []string `json:"subsystems,omitempty"`
	// paths are globs over the paths of files, as the server resolves them: `*` stands for any characters, slashes
	// too, and /** at the end for the folder itself as well.
	//
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=4096
	// +listType=set
	// +optional
	Paths []string `json:"paths,omitempty"`
	// operations on files.
	//
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Enum=read;write;append;list;stat;setstat;remove;rename;link;symlink;mkdir;rmdir;readlink;statvfs;realpath
	// +listType=set
	// +optional
	Operations []string `json:"operations,omitempty"`
	// forwarding kinds.
	//
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Enum=Local;Remote;StreamLocal;Agent;X11;Tun
	// +listType=set
	// +optional
	Forwarding []string `json:"forwarding,omitempty"`
	// addresses are globs over where a forwarding leads: host:port, or the path of a socket. Of a Remote forwarding
	// it is where the server listens.
	//
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +optional
	Addresses []string `json:"addresses,omitempty"`
	// users are globs over the user on the server.
	//
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Users []string `json:"users,omitempty"`
	// pty matches what runs on a terminal. A rule that allows a terminal has it true, and then allows every command
	// that is typed there.
	//
	// +optional
	PTY *bool `json:"pty,omitempty"`
	// interactive matches a shell that reads its commands from its input, on a terminal or not.
	//
	// +optional
	Interactive *bool `json:"interactive,omitempty"`
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
	// detectors find values by their form.
	//
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	Detectors []Detector `json:"detectors,omitempty"`
	// pattern (RE2) finds values of your own: each match is replaced by as many characters. It has to match at least
	// one character. A match is found across the pieces in which a stream arrives; one of more than 4 KiB, or one that
	// arrives in pieces more than 30 ms apart, is shown in part. At most 16 patterns in a target.
	//
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Pattern string `json:"pattern,omitempty"`
}
