package request

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/google/go-cmp/cmp"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		method, target string
		want           policy.KubernetesRequest
	}{
		"a get":                         {"GET", "/api/v1/namespaces/a/pods/p", policy.KubernetesRequest{Verb: "get", Version: "v1", Resource: "pods", Namespace: "a", Name: "p", ReadOnly: true}},
		"a list":                        {"GET", "/apis/apps/v1/namespaces/a/deployments", policy.KubernetesRequest{Verb: "list", Group: "apps", Version: "v1", Resource: "deployments", Namespace: "a", ReadOnly: true}},
		"a list of one":                 {"GET", "/api/v1/pods?fieldSelector=metadata.name%3Dp,status.phase%3DRunning", policy.KubernetesRequest{Verb: "list", Version: "v1", Resource: "pods", Name: "p", ReadOnly: true}},
		"a watch":                       {"GET", "/api/v1/pods?watch=1", policy.KubernetesRequest{Verb: "watch", Version: "v1", Resource: "pods", ReadOnly: true}},
		"a watch that says it is none":  {"GET", "/api/v1/pods?watch=False", policy.KubernetesRequest{Verb: "list", Version: "v1", Resource: "pods", ReadOnly: true}},
		"a watch by path":               {"GET", "/api/v1/watch/namespaces/a/pods/p", policy.KubernetesRequest{Verb: "watch", Version: "v1", Resource: "pods", Namespace: "a", Name: "p", ReadOnly: true}},
		"a namespace is in itself":      {"DELETE", "/api/v1/namespaces/a", policy.KubernetesRequest{Verb: "delete", Version: "v1", Resource: "namespaces", Namespace: "a", Name: "a"}},
		"its subresource":               {"PUT", "/api/v1/namespaces/a/finalize", policy.KubernetesRequest{Verb: "update", Version: "v1", Resource: "namespaces", Subresource: "finalize", Namespace: "a", Name: "a"}},
		"a deletecollection":            {"DELETE", "/api/v1/namespaces/a/pods", policy.KubernetesRequest{Verb: "deletecollection", Version: "v1", Resource: "pods", Namespace: "a"}},
		"a final slash is nothing":      {"DELETE", "/api/v1/namespaces/a/pods/", policy.KubernetesRequest{Verb: "deletecollection", Version: "v1", Resource: "pods", Namespace: "a"}},
		"an encoded name":               {"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3anode", policy.KubernetesRequest{Verb: "get", Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles", Name: "system:node", ReadOnly: true}},
		"an encoded resource":           {"GET", "/api/v1/namespaces/a/%73ecrets/s", policy.KubernetesRequest{Verb: "get", Version: "v1", Resource: "secrets", Namespace: "a", Name: "s", ReadOnly: true}},
		"a proxy is no read":            {"GET", "/api/v1/namespaces/a/services/https:s:8443/proxy/x/y", policy.KubernetesRequest{Verb: "get", Version: "v1", Resource: "services", Subresource: "proxy", Namespace: "a", Name: "https:s:8443"}},
		"discovery":                     {"GET", "/apis/apps/v1", policy.KubernetesRequest{Verb: "get", Path: "/apis/apps/v1", Discovery: true, ReadOnly: true}},
		"the root":                      {"GET", "/", policy.KubernetesRequest{Verb: "get", Path: "/", Discovery: true, ReadOnly: true}},
		"metrics are no discovery":      {"GET", "/metrics", policy.KubernetesRequest{Verb: "get", Path: "/metrics", ReadOnly: true}},
		"a post is none either":         {"POST", "/version", policy.KubernetesRequest{Verb: "post", Path: "/version"}},
		"exec over SPDY":                {"POST", "/api/v1/namespaces/a/pods/p/exec?command=ls&container=c&stdout=true", policy.KubernetesRequest{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "a", Name: "p", Container: "c"}},
		"exec over a WebSocket":         {"GET", "/api/v1/namespaces/a/pods/p/exec?command=sh&stdin=1&tty", policy.KubernetesRequest{Verb: "create", Version: "v1", Resource: "pods", Subresource: "exec", Namespace: "a", Name: "p", TTY: true, Stdin: true}},
		"port-forward, ports unknown":   {"GET", "/api/v1/namespaces/a/pods/p/portforward", policy.KubernetesRequest{Verb: "create", Version: "v1", Resource: "pods", Subresource: "portforward", Namespace: "a", Name: "p", Opening: true}},
		"port-forward, ports in a list": {"GET", "/api/v1/namespaces/a/pods/p/portforward?ports=80,81&ports=82", policy.KubernetesRequest{Verb: "create", Version: "v1", Resource: "pods", Subresource: "portforward", Namespace: "a", Name: "p", Ports: []uint16{80, 81, 82}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Parse(tc.method, tc.target)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, r.Kubernetes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, target := range map[string]string{
		"a dot segment":                    "/api/v1/./pods",
		"a dot segment at the end":         "/api/v1/namespaces/a/pods/..",
		"an encoded dot segment":           "/api/v1/namespaces/a/%2e%2E/b",
		"an encoded slash":                 "/api/v1/namespaces/a%2fsecrets",
		"an encoded backslash":             "/api/v1/namespaces/a%5csecrets",
		"a backslash":                      `/api/v1/namespaces/a\secrets`,
		"two slashes":                      "/api/v1//pods",
		"two slashes before all":           "//api/v1/pods",
		"two slashes behind all":           "/api/v1/pods//",
		"what is encoded twice":            "/api/v1/namespaces/a/%2573ecrets",
		"a bare percent sign":              "/api/v1/namespaces/a/pods/%zz",
		"a NUL":                            "/api/v1/namespaces/a/pods/p%00",
		"a line break":                     "/api/v1/namespaces/a/pods/p%0d%0aX:y",
		"bytes that are no UTF-8":          "/api/v1/namespaces/a/pods/%ff",
		"an absolute form":                 "https://other/api/v1/pods",
		"an authority form":                "host:443",
		"an asterisk form":                 "*",
		"nothing":                          "",
		"a fragment":                       "/api/v1/pods#x",
		"a star for a name":                "/api/v1/namespaces/a/pods/*",
		"a star for a namespace":           "/api/v1/namespaces/%2a/pods",
		"a semicolon in the query":         "/api/v1/pods?a=1;watch=1",
		"a bad escape in the query":        "/api/v1/pods?watch=%zz",
		"a parameter twice":                "/api/v1/pods?watch=0&watch=1",
		"paths below proxy":                "/api/v1/proxy/namespaces/a/pods/p",
		"a path behind a subresource":      "/api/v1/namespaces/a/pods/p/exec/x",
		"exec of no command":               "/api/v1/namespaces/a/pods/p/exec",
		"exec with a parameter it has not": "/api/v1/namespaces/a/pods/p/exec?command=ls&commands=rm",
		"attach with a command":            "/api/v1/namespaces/a/pods/p/attach?command=ls",
		"exec of another kind of object":   "/apis/x.example/v1/namespaces/a/machines/m/exec?command=ls",
		"a port that is none":              "/api/v1/namespaces/a/pods/p/portforward?ports=0",
		"a port out of range":              "/api/v1/namespaces/a/pods/p/portforward?ports=65616",
		"a target that is too long":        "/api/v1/namespaces/a/pods/p/exec?command=" + strings.Repeat("x", maxURI),
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := Parse("GET", target); err == nil {
				t.Errorf("read as %+v", r.Kubernetes)
			}
		})
	}
	for _, method := range []string{"OPTIONS", "CONNECT", "TRACE", "get", "PROPFIND", ""} {
		if _, err := Parse(method, "/api/v1/pods"); err == nil {
			t.Errorf("the method %q was read", method)
		}
	}
}

// FuzzParse compares with the API server's own reading of what would be sent to it.
func FuzzParse(f *testing.F) {
	for _, target := range []string{
		"/api/v1/namespaces/a/pods/p/exec?command=ls&stdin=1", "/apis/apps/v1/watch/deployments?x=y", "/api/v1/namespaces/a/finalize",
		"/api/v1/pods?watch=&fieldSelector=metadata.name%3Dp", "/apis/a/b/c/", "/api/v1/namespaces//secrets", "/%61pi/v1/secrets/%2e",
	} {
		f.Add(uint8(0), target)
	}
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}
	factory := apirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	f.Fuzz(func(t *testing.T, n uint8, target string) {
		method := methods[int(n)%len(methods)]
		r, err := Parse(method, target)
		if err != nil {
			return
		}
		u, err := url.ParseRequestURI(r.Target())
		if err != nil {
			t.Fatalf("%q is forwarded as %q, which is no URL: %v", target, r.Target(), err)
		}
		again, err := Parse(method, r.Target())
		if err != nil || again.Target() != r.Target() {
			t.Fatalf("%q is forwarded as %q, which reads as %+v, %v", target, r.Target(), again, err)
		}
		info, err := factory.NewRequestInfo(&http.Request{Method: method, URL: u})
		if err != nil {
			t.Fatalf("%q is forwarded as %q, which the API server cannot read: %v", target, r.Target(), err)
		}
		k := r.Kubernetes
		if info.IsResourceRequest != (k.Resource != "") {
			t.Fatalf("%q: %+v, but the API server reads %+v", target, k, info)
		}
		if !info.IsResourceRequest {
			return
		}
		verb := info.Verb
		if r.Exec != nil || r.Forward {
			verb = "create"
		}
		name := k.Name
		if k.Verb == "list" || k.Verb == "watch" {
			// A name that only a selector says may be missed, never invented.
			if name == "" {
				name = info.Name
			}
		}
		if k.Verb != verb || k.Group != info.APIGroup || k.Version != info.APIVersion || k.Resource != info.Resource ||
			k.Subresource != info.Subresource || k.Namespace != info.Namespace || name != info.Name {
			t.Fatalf("%s %q: %+v, but the API server reads %+v", method, target, k, info)
		}
	})
}
