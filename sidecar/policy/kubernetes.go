package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// KubernetesRequest is one request to a Kubernetes API server. An exec whose command is a shell's is one for each
// simple command in it, and the strictest verdict counts.
type KubernetesRequest struct {
	// Verb, Group, Resource, Subresource, Namespace and Name are as RBAC knows them (the API server's RequestInfo).
	// exec, attach and portforward are create, whichever HTTP method their transport has.
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
	// Container, TTY, Stdin and Argv are set for exec and attach; Container is empty where it could not be told.
	// Argv is nil for attach, and for an exec of a shell that reads its commands from standard input, which is
	// Interactive.
	Container   string
	TTY         bool
	Stdin       bool
	Interactive bool
	Argv        *Argv
	// Ports are those of port-forward. Opening says that they are not known yet: the connection is judged as the
	// most that it could be allowed, and each port again when it is asked for.
	Ports   []uint16
	Opening bool
	// ReadOnly says that nothing is changed by it (used by recording durability).
	ReadOnly bool
	// Refused names why it is refused whatever the rules say.
	Refused string
}

// session tells whether the request opens a stream of its own into a pod. A rule allows one only if it names the
// subresource: `*` is written for objects.
func (k *KubernetesRequest) session() bool {
	switch k.Subresource {
	case "exec", "attach", "portforward":
		return true
	}
	return false
}

// escapes tells whether what the request does is out of sight: what is behind a proxy is not judged, and a token works
// without the sidecar. Only a rule that spells the subresource out allows it, or sends it for approval.
func (k *KubernetesRequest) escapes() bool {
	return k.Subresource == "proxy" || k.Subresource == "token" && k.Resource == "serviceaccounts"
}

// fallback is what a target's defaultAction is for the request: it names nothing, so it lets no session and nothing out
// of sight through.
func (k *KubernetesRequest) fallback(action Action) Action {
	if k.escapes() || k.session() && action == Allow {
		return Deny
	}
	return action
}

// anything is what a session runs whose commands cannot be seen.
var anything = &Argv{Program: Unknown, Unresolved: "the commands of an interactive session cannot be seen beforehand"}

// argv is what the request runs, nil for one that runs nothing.
func (k *KubernetesRequest) argv() *Argv {
	if k.Argv == nil && (k.Subresource == "exec" || k.Subresource == "attach") {
		return anything
	}
	return k.Argv
}

// what names the request in a refusal.
func (k *KubernetesRequest) what() string {
	if k.Resource == "" {
		return k.Verb + " " + k.Path
	}
	what := k.Verb + " " + k.Resource
	if k.Group != "" {
		what += "." + k.Group
	}
	if k.Subresource != "" {
		what += "/" + k.Subresource
	}
	if k.Name != "" {
		what += " " + k.Name
	}
	if k.Namespace != "" {
		what += " in namespace " + k.Namespace
	}
	switch {
	case k.Argv != nil && k.Argv.Program != "" && k.Argv.Program != Unknown:
		what += " of " + k.Argv.Program
	case k.Interactive:
		what += " of an interactive session"
	case len(k.Ports) > 0:
		what += " to port " + strconv.Itoa(int(k.Ports[0]))
	}
	return what
}

// clusterScoped are Kubernetes' own resources that are in no namespace, by group. A request for any other resource
// without a namespace is for those of all namespaces, or for a resource of which nothing is known.
var clusterScoped = map[string]map[string]bool{
	"":                             {"nodes": true, "namespaces": true, "persistentvolumes": true, "componentstatuses": true},
	"admissionregistration.k8s.io": {Unknown: true},
	"apiextensions.k8s.io":         {Unknown: true},
	"apiregistration.k8s.io":       {Unknown: true},
	"authentication.k8s.io":        {Unknown: true},
	"authorization.k8s.io":         {"selfsubjectaccessreviews": true, "selfsubjectrulesreviews": true, "subjectaccessreviews": true},
	"certificates.k8s.io":          {"certificatesigningrequests": true, "clustertrustbundles": true},
	"flowcontrol.apiserver.k8s.io": {Unknown: true},
	"networking.k8s.io":            {"ingressclasses": true, "ipaddresses": true, "servicecidrs": true},
	"node.k8s.io":                  {"runtimeclasses": true},
	"rbac.authorization.k8s.io":    {"clusterroles": true, "clusterrolebindings": true},
	"scheduling.k8s.io":            {"priorityclasses": true},
	"storage.k8s.io":               {"storageclasses": true, "volumeattachments": true, "csidrivers": true, "csinodes": true, "volumeattributesclasses": true},
}

func (k *KubernetesRequest) clusterScoped() bool {
	known := clusterScoped[k.Group]
	return k.Namespace == "" && (known[k.Resource] || known[Unknown])
}

// checkKubernetes finds patterns that match nothing.
func (m *Match) checkKubernetes() error {
	for field, patterns := range map[string][]string{
		"verbs": m.Verbs, "resources": m.Resources, "namespaces": m.Namespaces, "names": m.Names,
		"containers": m.Containers,
	} {
		for _, p := range patterns {
			if p == "" {
				return fmt.Errorf("match.%s: an empty pattern matches nothing", field)
			}
		}
	}
	for _, p := range m.Resources {
		resource, sub, slash := strings.Cut(p, "/")
		if resource == "" || slash && sub == "" || strings.Contains(sub, "/") {
			return fmt.Errorf("match.resources: %q is neither resource nor resource/subresource", p)
		}
	}
	for _, port := range m.Ports {
		if port == 0 {
			return errors.New("match.ports: 0 is not a port")
		}
	}
	return nil
}

// matchKubernetes reports whether what the rule says of API requests holds for this one. A rule that permits must
// cover all that the request could be for; a rule that forbids needs one thing that it is for.
func (r *compiledRule) matchKubernetes(k *KubernetesRequest) bool {
	m := &r.doc.Match
	if r.doc.Action != Deny && !r.names(k) {
		return false
	}
	if len(m.Verbs) > 0 && !r.matchVerb(k) {
		return false
	}
	about := len(m.APIGroups) > 0 || len(m.Resources) > 0 || len(m.Namespaces) > 0 || len(m.Names) > 0
	if about && k.Resource == "" {
		return false // is for no object
	}
	if len(m.APIGroups) > 0 && !oneIs(m.APIGroups, k.Group) {
		return false
	}
	if len(m.Resources) > 0 && !matchResource(m.Resources, k) {
		return false
	}
	if len(m.Namespaces) > 0 && (k.clusterScoped() || !r.matchPart(m.Namespaces, k.Namespace)) {
		return false
	}
	if len(m.Names) > 0 && !r.matchPart(m.Names, k.Name) {
		return false
	}
	return r.matchSession(m, k)
}

// matchSession compares what only exec, attach and port-forward have.
func (r *compiledRule) matchSession(m *Match, k *KubernetesRequest) bool {
	if len(m.Containers) > 0 && (k.Subresource != "exec" && k.Subresource != "attach" || !r.matchPart(m.Containers, k.Container)) {
		return false
	}
	if (m.TTY != nil || m.Interactive != nil) && k.Subresource != "exec" && k.Subresource != "attach" {
		return false
	}
	if m.TTY != nil && *m.TTY != k.TTY {
		return false
	}
	switch {
	case m.Interactive != nil && *m.Interactive != k.Interactive:
		return false
	case m.Interactive == nil && r.permits && k.Interactive:
		return false // a permission of its own
	}
	if !r.matchArgv(k.argv()) {
		return false
	}
	return len(m.Ports) == 0 || r.matchPorts(m.Ports, k)
}

// names tells whether the rule speaks of what it would let through: see session and escapes.
func (r *compiledRule) names(k *KubernetesRequest) bool {
	switch {
	case k.escapes():
	case k.session() && r.permits:
	default:
		return true
	}
	for _, p := range r.doc.Match.Resources {
		if _, sub, _ := strings.Cut(p, "/"); sub == k.Subresource || sub == "*" && !k.escapes() {
			return true
		}
	}
	return false
}

// matchVerb compares as RBAC does. A session is a get where it comes over a WebSocket: a rule that forbids either verb
// is for it.
func (r *compiledRule) matchVerb(k *KubernetesRequest) bool {
	return oneIs(r.doc.Match.Verbs, k.Verb) || !r.permits && k.session() && oneIs(r.doc.Match.Verbs, "get")
}

// oneIs compares as RBAC does: exactly, or *.
func oneIs(list []string, name string) bool {
	for _, x := range list {
		if x == name || x == "*" {
			return true
		}
	}
	return false
}

// matchResource compares as RBAC does: `*` is every resource and subresource, `pods` has none, `*/scale` is a
// subresource of any. Beside that, each part may be a glob.
func matchResource(patterns []string, k *KubernetesRequest) bool {
	for _, p := range patterns {
		resource, sub, slash := strings.Cut(p, "/")
		switch {
		case p == "*":
			return true
		case slash != (k.Subresource != ""), !wild(resource, k.Resource), slash && !wild(sub, k.Subresource):
		default:
			return true
		}
	}
	return false
}

// matchPart compares a name with patterns; an empty one could be any.
func (r *compiledRule) matchPart(patterns []string, name string) bool {
	for _, p := range patterns {
		if r.permits && covers(p, name) || !r.permits && touches(p, name) {
			return true
		}
	}
	return false
}

func (r *compiledRule) matchPorts(ports []uint16, k *KubernetesRequest) bool {
	if k.Subresource != "portforward" {
		return false
	}
	if k.Opening {
		return r.doc.Action != Deny
	}
	for _, asked := range k.Ports {
		listed := false
		for _, p := range ports {
			listed = listed || p == asked
		}
		if listed != r.permits {
			return !r.permits
		}
	}
	return r.permits && len(k.Ports) > 0
}

// KubernetesSettings is what the policies of one destination say beside their rules, merged.
type KubernetesSettings struct {
	// HasLease says that a credential is leased for Lease; else it is the pod's own service account.
	HasLease bool
	Lease    LeaseRef
	// Masking holds every row of every policy, those of an Audit policy too, because masking refuses nothing.
	Masking []Masking
	// Containers says that some rule asks for the container of a session, so that it has to be found.
	Containers bool
}

func mergeKubernetes(targets []*compiledTarget) (settings *KubernetesSettings, conflict string) {
	s := &KubernetesSettings{}
	first := targets[0]
	for _, t := range targets {
		k := t.target.Kubernetes
		switch was := first.target.Kubernetes; {
		case t == first:
		case was.HasCredentials != k.HasCredentials, k.HasCredentials && (k.CredentialsID == "" || k.CredentialsID != was.CredentialsID):
			conflict = "policies " + first.policy.name + " and " + t.policy.name + " give different credentials (kubernetes.credentials) for one destination"
		}
		if k.HasCredentials && !s.HasLease {
			s.HasLease, s.Lease = true, LeaseRef{Policy: t.policy.name, Target: t.target.Name}
		}
		s.Masking = append(s.Masking, k.Masking...)
		for i := range t.rules {
			s.Containers = s.Containers || len(t.rules[i].doc.Match.Containers) > 0 || t.rules[i].when != nil
		}
	}
	return s, conflict
}
