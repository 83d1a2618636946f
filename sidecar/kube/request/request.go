package request

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Request is one request as it is judged and as it is forwarded.
type Request struct {
	Method string
	// Path and Query are the canonical spelling of the target: what is sent upstream.
	Path  string
	Query url.Values
	// Kubernetes is what the rules see. For an exec its Argv is not filled in: Exec.Command is what it runs.
	Kubernetes policy.KubernetesRequest
	// Watch says that the answer goes on as objects change, Follow that it does as a container writes its log.
	Watch  bool
	Follow bool
	// Exec is set for exec and attach, Forward for port-forward.
	Exec    *Exec
	Forward bool
}

// ErrMethod is a method that the API server has no verb for.
var ErrMethod = errors.New("a method that the API does not have")

// verbs are those of RequestInfo by method; GET without a name is a list or watch, DELETE without one a
// deletecollection.
var verbs = map[string]string{
	http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update",
	http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// Parse reads a request line: method and target (RFC 9112 3.2.1, the origin form alone).
func Parse(method, target string) (*Request, error) {
	if verbs[method] == "" {
		return nil, fmt.Errorf("%w: %q", ErrMethod, method)
	}
	if len(target) > maxURI {
		return nil, fmt.Errorf("the target of the request is %d bytes long, more than %d", len(target), maxURI)
	}
	if strings.Contains(target, "#") {
		return nil, errors.New("the target of the request has a fragment")
	}
	escaped, raw, _ := strings.Cut(target, "?")
	segments, err := Path(escaped)
	if err != nil {
		return nil, err
	}
	r := &Request{Method: method, Path: escape(segments)}
	if r.Query, err = url.ParseQuery(raw); err != nil {
		return nil, errors.New("the query holds something that is no parameter (a semicolon, or a percent sign that encodes nothing)")
	}
	if err := r.classify(segments); err != nil {
		return nil, err
	}
	if r.Kubernetes.Subresource != "proxy" {
		if err := single(r.Query); err != nil {
			return nil, err
		}
	}
	return r, r.parameters()
}

// Target is what is sent upstream.
func (r *Request) Target() string {
	if len(r.Query) == 0 {
		return r.Path
	}
	return r.Path + "?" + r.Query.Encode()
}

// repeated are the parameters that the API server reads as lists; of any other it takes the first.
var repeated = []string{"command", "ports", "dryRun"}

func single(query url.Values) error {
	for name, values := range query {
		if len(values) > 1 && !slices.Contains(repeated, name) {
			return fmt.Errorf("the query has %q %d times", name, len(values))
		}
	}
	return nil
}

// classify says what the request is for, as RequestInfo does.
func (r *Request) classify(segments []string) error {
	if segments[len(segments)-1] == "" {
		segments = segments[:len(segments)-1]
	}
	k := &r.Kubernetes
	k.ReadOnly = r.Method == http.MethodGet || r.Method == http.MethodHead
	rest := segments
	grouped := len(rest) > 0 && rest[0] == "apis"
	switch {
	case grouped && len(rest) >= 4:
		k.Group, k.Version, rest = rest[1], rest[2], rest[3:]
	case len(rest) >= 3 && rest[0] == "api":
		k.Version, rest = rest[1], rest[2:]
	default:
		k.Verb, k.Path = strings.ToLower(r.Method), r.Path
		k.Discovery = k.ReadOnly && discovery(segments)
		return nil
	}
	k.Verb = verbs[r.Method]
	legacy := false
	switch rest[0] {
	case "proxy":
		return errors.New("the API server has no paths below proxy/ any more")
	case "watch":
		if len(rest) < 2 {
			return errors.New("a watch of nothing")
		}
		// RequestInfo takes any method for a watch here; the API server serves GET alone.
		if !k.ReadOnly {
			return fmt.Errorf("%w: %s of a watch", ErrMethod, r.Method)
		}
		k.Verb, r.Watch, rest, legacy = "watch", true, rest[1:], true
	}
	if rest[0] == "namespaces" && len(rest) > 1 {
		k.Namespace = rest[1]
		if len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize" {
			rest = rest[2:]
		}
	}
	k.Resource = rest[0]
	if len(rest) >= 2 {
		k.Name = rest[1]
	}
	if len(rest) >= 3 {
		k.Subresource = rest[2]
	}
	if len(rest) > 3 && k.Subresource != "proxy" {
		return fmt.Errorf("a path that goes on behind the subresource %s", k.Subresource)
	}
	for name, part := range map[string]string{"group": k.Group, "version": k.Version, "namespace": k.Namespace, "resource": k.Resource, "name": k.Name, "subresource": k.Subresource} {
		// To the rules a star stands for all, and no such thing has one in its name but a resource that RBAC invents.
		if strings.Contains(part, policy.Unknown) {
			return fmt.Errorf("the %s %q, which has a star in it", name, part)
		}
	}
	if !legacy && k.Name == "" {
		r.collection()
	}
	return nil
}

// collection finds the verb of a request for all objects of a kind.
func (r *Request) collection() {
	k := &r.Kubernetes
	switch k.Verb {
	case "get":
		k.Verb = "list"
		if r.Query.Has("watch") && boolean(r.Query.Get("watch")) {
			k.Verb, r.Watch = "watch", true
		}
		k.Name = selected(r.Query.Get("fieldSelector"))
	case "delete":
		k.Verb = "deletecollection"
	}
}

// discovery tells the paths under which the API server says what it offers and how it is.
func discovery(segments []string) bool {
	if len(segments) == 0 {
		return true
	}
	switch segments[0] {
	case "api", "apis", "version":
		// Longer ones are resources.
		return len(segments) <= 3
	case "openapi", "livez", "readyz", "healthz":
		return true
	}
	return false
}

// boolean reads a parameter as the API server does: present is true, unless it says false or 0
// (k8s.io/apimachinery, Convert_Slice_string_To_bool).
func boolean(value string) bool { return !strings.EqualFold(value, "false") && value != "0" }

// selected is the only object that a field selector of a list or watch lets through, empty where it is not plain which.
func selected(selector string) string {
	if strings.Contains(selector, `\`) {
		return ""
	}
	for term := range strings.SplitSeq(selector, ",") {
		name, ok := strings.CutPrefix(term, "metadata.name=")
		if !ok {
			continue
		}
		name = strings.TrimPrefix(name, "=")
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || name == "." || name == ".." {
			return ""
		}
		return name
	}
	return ""
}
