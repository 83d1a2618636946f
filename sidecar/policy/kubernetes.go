package policy

// KubernetesRequest is one request to a Kubernetes API server. An exec whose command is a shell's is one for each
// simple command in it, and the strictest verdict counts.
type KubernetesRequest struct {
	// Verb, Group, Resource, Subresource, Namespace and Name are as RBAC knows them (the API server's RequestInfo).
	Verb        string
	Group       string
	Version     string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	// Path is set for a request that is for no resource (/healthz), whose Verb is the HTTP method in lower case.
	Path string
	// Discovery says that the request only asks what the server offers (/api, /apis, /version, /openapi).
	Discovery bool
	// Container, TTY, Stdin and Argv are set for exec and attach. Argv is nil for attach, and for an exec of a shell
	// that reads its commands from standard input, which is Interactive.
	Container   string
	TTY         bool
	Stdin       bool
	Interactive bool
	Argv        *Argv
	// Ports are those of port-forward.
	Ports []uint16
	// ReadOnly says that nothing is changed by it (used by recording durability).
	ReadOnly bool
	// Refused names why it is refused whatever the rules say.
	Refused string
}

// what names the request in a refusal.
func (k *KubernetesRequest) what() string {
	if k.Resource == "" {
		return k.Verb + " " + k.Path
	}
	what := k.Verb + " " + k.Resource
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if k.Name != "" {
		what += " " + k.Name
	}
	if k.Namespace != "" {
		what += " in namespace " + k.Namespace
	}
	if k.Argv != nil {
		what += " of " + k.Argv.Program
	}
	return what
}

// matchKubernetes reports whether what the rule says of API requests holds for this one.
func (r *compiledRule) matchKubernetes(*KubernetesRequest) bool { return false }
