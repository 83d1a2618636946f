package kube

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// asBoss starts a sidecar whose account may do everything: only the policy holds the agent back.
func asBoss(t testing.TB, target policy.Kubernetes) *kubeserver.Sidecar {
	t.Helper()
	s := front(t, target)
	if err := s.Token(boss); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOtherRoadsToAChange asks for what a rule that lets objects be read, and few programs run, does not speak of.
func TestOtherRoadsToAChange(t *testing.T) {
	s := asBoss(t, only())
	const pod = "/api/v1/namespaces/shop/pods/solo"
	const strategic = "application/strategic-merge-patch+json"
	for name, c := range map[string]struct{ method, target, media, body string }{
		"an ephemeral container (kubectl debug)":  {"PATCH", pod + "/ephemeralcontainers", strategic, `{"spec":{"ephemeralContainers":[{"name":"MARK","image":"none"}]}}`},
		"an ephemeral container by a merge patch": {"PATCH", pod + "/ephemeralcontainers", mergePatch, `{"spec":{"ephemeralContainers":[{"name":"MARK","image":"none"}]}}`},
		"an ephemeral container by an update":     {"PUT", pod + "/ephemeralcontainers", "application/json", `{"metadata":{"name":"solo"},"spec":{"ephemeralContainers":[{"name":"MARK","image":"none"}]}}`},
		"an ephemeral container by apply":         {"PATCH", pod + "/ephemeralcontainers?fieldManager=MARK", applyPatch, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"solo"},"spec":{"ephemeralContainers":[{"name":"MARK","image":"none"}]}}`},
		"a copy of the pod (debug --copy-to)":     {"POST", "/api/v1/namespaces/shop/pods", "application/json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"MARK"},"spec":{"containers":[{"name":"x","image":"none"}]}}`},
		"another image":                           {"PATCH", pod, strategic, `{"metadata":{"labels":{"MARK":"x"}},"spec":{"containers":[{"name":"only","image":"other"}]}}`},
		"more of the node (resize)":               {"PATCH", pod + "/resize", strategic, `{"metadata":{"labels":{"MARK":"x"}}}`},
		"a status":                                {"PATCH", pod + "/status", strategic, `{"metadata":{"labels":{"MARK":"x"}}}`},
		"an eviction":                             {"POST", pod + "/eviction", "application/json", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"solo"}}`},
		"a binding":                               {"POST", pod + "/binding", "application/json", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"solo"},"target":{"name":"MARK"}}`},
		"a binding of the namespace":              {"POST", "/api/v1/namespaces/shop/bindings", "application/json", `{"apiVersion":"v1","kind":"Binding","metadata":{"name":"solo"},"target":{"name":"MARK"}}`},
		"a deletion":                              {"DELETE", pod, "", ""},
		"a deletion of all":                       {"DELETE", "/api/v1/namespaces/shop/pods", "", ""},
		"a deletion of the namespace":             {"DELETE", "/api/v1/namespaces/shop", "", ""},
		"the namespace's end (finalize)":          {"PUT", "/api/v1/namespaces/shop/finalize", "application/json", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"},"spec":{"finalizers":[]}}`},
		"a scale":                                 {"PUT", "/apis/apps/v1/namespaces/shop/deployments/fleet/scale", "application/json", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"fleet","namespace":"shop"},"spec":{"replicas":9}}`},
		"a scale by a patch":                      {"PATCH", "/apis/apps/v1/namespaces/shop/deployments/fleet/scale", mergePatch, `{"spec":{"replicas":9}}`},
		"a request for a certificate":             {"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", "application/json", `{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"MARK"},"spec":{"request":"eA==","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"]}}`},
		"the approval of a certificate":           {"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/MARK/approval", "application/json", `{}`},
		"a token of its own account":              {"POST", "/api/v1/namespaces/shop/serviceaccounts/agent/token", "application/json", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`},
		"a token of another account":              {"POST", "/api/v1/namespaces/shop/serviceaccounts/boss/token", "application/json", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`},
		"a token that a Secret is filled with":    {"POST", "/api/v1/namespaces/shop/secrets", "application/json", `{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"name":"MARK","annotations":{"kubernetes.io/service-account.name":"boss"}}}`},
		"more rights":                             {"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "application/json", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"MARK"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","name":"agent","namespace":"shop"}]}`},
		"a webhook of its own":                    {"POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", "application/json", `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration","metadata":{"name":"MARK"}}`},
		"an API server of its own":                {"POST", "/apis/apiregistration.k8s.io/v1/apiservices", "application/json", `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"MARK"}}`},
		"an event that quotes":                    {"POST", "/api/v1/namespaces/shop/events", "application/json", `{"apiVersion":"v1","kind":"Event","metadata":{"name":"MARK"},"involvedObject":{"namespace":"shop"}}`},
		"the old name of events":                  {"POST", "/apis/events.k8s.io/v1/namespaces/shop/events", "application/json", `{}`},
		"a change that is not made":               {"DELETE", pod + "?dryRun=All", "", ""},
		"a change by a method that nobody has":    {"LINK", pod, "", ""},
		"reading with a body that says otherwise": {"POST", "/api/v1/namespaces/shop/configmaps/map", "application/json", `{}`},
		"metrics":                                  {"GET", "/metrics", "", ""},
		"profiles":                                 {"GET", "/debug/pprof/heap", "", ""},
		"the server's own log level":               {"PUT", "/debug/flags/v", "text/plain", "9"},
		"logs of the node":                         {"GET", "/logs/", "", ""},
		"logs of another namespace's pod":          {"GET", "/api/v1/namespaces/vault/pods/solo/log", "", ""},
		"logs, of which no rule speaks":            {"GET", pod + "/log", "", ""},
		"logs of a node by the kubelet":            {"GET", "/api/v1/nodes/node/proxy/logs/", "", ""},
		"the kubelet's pods":                       {"GET", "/api/v1/nodes/node/proxy/pods", "", ""},
		"a list by deletecollection's own options": {"DELETE", "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dsolo&dryRun=All", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			word := strings.TrimSuffix(mark(), "-")
			code, answer := ask(t, s, c.method, strings.ReplaceAll(c.target, "MARK", word), c.media, strings.ReplaceAll(c.body, "MARK", word))
			if code != 403 && code != 400 && code != 405 || !strings.Contains(answer, "Chaperone") {
				t.Errorf("%d %s", code, answer)
			}
			now, err := server.Client.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(now.Items) != 1 || strings.Contains(now.String(), word) || now.Items[0].DeletionTimestamp != nil {
				t.Errorf("%v %+v", err, now)
			}
		})
	}
	livesOn(t, s)
}

// TestFilesByOtherRoads copies as kubectl cp does, which is an exec of tar.
func TestFilesByOtherRoads(t *testing.T) {
	s := asBoss(t, only())
	for name, argv := range map[string][]string{
		"from the container":         {"tar", "cf", "-", "MARK"},
		"into the container":         {"tar", "-xmf", "-", "-C", "/MARK"},
		"by a path":                  {"/bin/tar", "cf", "-", "MARK"},
		"by a shell":                 {"sh", "-c", "tar cf - MARK | cat"},
		"with a program of tar's":    {"tar", "cf", "/dev/null", "--checkpoint=1", "--checkpoint-action=exec=echo MARK", "/dev/null"},
		"by dd":                      {"dd", "of=MARK"},
		"by tee":                     {"tee", "MARK"},
		"by cat into a file":         {"sh", "-c", "cat > MARK"},
		"as cp --retries resumes it": {"sh", "-c", "tar cf - MARK | tail -c+100"},
	} {
		for _, protocol := range []string{v5, ""} {
			t.Run(strings.TrimSpace(name+" "+map[string]string{"": "over SPDY"}[protocol]), func(t *testing.T) {
				word := mark()
				words := make([]string, len(argv))
				for i := range argv {
					words[i] = strings.ReplaceAll(argv[i], "MARK", word)
				}
				c := dial(t, s.Address(), s.CAPEM())
				if target := execPath("&stdin=true", words...); protocol == "" {
					c.send(t, spdyRequest("v4.channel.k8s.io", target))
				} else {
					c.send(t, socketRequest(protocol, target))
				}
				if code, body := c.answer(); code != 403 || !strings.Contains(body, "refused by Chaperone") || ran(word) {
					t.Errorf("%d %s", code, body)
				}
			})
		}
	}
	livesOn(t, s)
}

// changing lets ConfigMaps of one namespace be made, and no more.
func changing() policy.Kubernetes {
	target := only()
	target.Rules = append(target.Rules, policy.Rule{Name: "makes", Action: policy.Allow, Match: policy.Match{Verbs: []string{"create"}, Resources: []string{"configmaps"}, Namespaces: []string{"shop"}}})
	return target
}

// TestRequestsWithinRequests sends one that is allowed, in which another one hides from whoever reads it differently. The
// hidden ones delete a ConfigMap, and read one of another namespace.
func TestRequestsWithinRequests(t *testing.T) {
	s := asBoss(t, changing())
	victim := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "victim"}}
	if _, err := server.Client.CoreV1().ConfigMaps("shop").Create(t.Context(), victim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Client.CoreV1().ConfigMaps("shop").Delete(context.Background(), "victim", metav1.DeleteOptions{})
	})
	const hidden = "DELETE /api/v1/namespaces/shop/configmaps/victim HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/namespaces/vault/configmaps/map HTTP/1.1\r\nHost: x\r\n\r\n"
	const post, line = "POST /api/v1/namespaces/shop/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n", "GET /api/v1/namespaces/shop/pods HTTP/1.1\r\nHost: x\r\n"
	size := len(hidden)
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, hidden)
	for name, request := range map[string]string{
		"a length of nothing and chunks":      post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a length over all and chunks":        post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", size+5, hidden),
		"chunks and a length behind":          post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + chunk,
		"two lengths":                         post + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", size, hidden),
		"two lengths in one":                  post + fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", size, hidden),
		"a length with a sign":                post + "Content-Length: +0\r\n\r\n" + hidden,
		"a length below nothing":              post + "Content-Length: -1\r\n\r\n" + hidden,
		"a length in another base":            post + "Content-Length: 0x0\r\n\r\n" + hidden,
		"a length with a space in front":      post + "Content-Length : 0\r\n\r\n" + hidden,
		"a coding with a space in front":      post + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + chunk,
		"a coding behind a tab":               post + "Transfer-Encoding:\tchunked\r\nContent-Length: 0\r\n\r\n" + chunk,
		"a coding behind a vertical tab":      post + "Transfer-Encoding: \vchunked\r\nContent-Length: 0\r\n\r\n" + chunk,
		"a coding in capitals":                post + "Transfer-Encoding: CHUNKED\r\nContent-Length: 0\r\n\r\n" + chunk,
		"two codings":                         post + "Transfer-Encoding: identity, chunked\r\n\r\n" + chunk,
		"two headers of codings":              post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunk,
		"a coding that is none":               post + "Transfer-Encoding: xchunked\r\n\r\n" + chunk,
		"a folded coding":                     post + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n" + chunk,
		"a chunk's size with a sign":          post + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + hidden,
		"a chunk's size that overflows":       post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + hidden,
		"a chunk's size with an underscore":   post + "Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n" + hidden,
		"a chunk that ends in a line feed":    post + "Transfer-Encoding: chunked\r\n\r\n0\n\n" + hidden,
		"an extension with a line feed in it": post + "Transfer-Encoding: chunked\r\n\r\n0;a=\nb\r\n\r\n" + hidden,
		"trailers that are headers":           post + "Transfer-Encoding: chunked\r\nTrailer: Authorization, Content-Length\r\n\r\n0\r\nAuthorization: Bearer " + boss + "\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a body of a reading request":         line + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, hidden),
		"chunks of a reading request":         line + "Transfer-Encoding: chunked\r\n\r\n" + chunk,
		"no length at all":                    line + "\r\n" + hidden,
		"a body that is waited for":           post + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", size, hidden),
		"an expectation that is none":         post + "Expect: something\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a return without a feed in a header": line + "X: y\rTransfer-Encoding: chunked\r\n\r\n" + hidden,
		"a NUL in a header":                   line + "X: y\x00\r\n\r\n" + hidden,
		"a header without a name":             line + ": y\r\n\r\n" + hidden,
		"a header without a colon":            line + "Transfer-Encoding chunked\r\n\r\n" + hidden,
		"a folded first line":                 "GET /api/v1/namespaces/shop/pods\r\n HTTP/1.1\r\nHost: x\r\n\r\n" + hidden,
		"lines in a header's value, encoded":  line + "X: y%0d%0aTransfer-Encoding: chunked\r\n\r\n" + hidden,
		"lines in the path, encoded":          "GET /api/v1/namespaces/shop/pods?x=%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aDELETE%20/api/v1/namespaces/shop/configmaps/victim HTTP/1.1\r\nHost: x\r\n\r\n",
		"another method by a header":          line + "X-HTTP-Method-Override: DELETE\r\nX-Original-Url: /api/v1/namespaces/vault/configmaps/map\r\nX-Rewrite-Url: /api/v1/namespaces/vault/configmaps/map\r\n\r\n",
		"another host":                        "GET https://vault.example/api/v1/namespaces/vault/configmaps/map HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"two hosts":                           "GET /api/v1/namespaces/vault/configmaps/map HTTP/1.1\r\nHost: localhost\r\nHost: vault.example\r\n\r\n",
		"a host that is a path":               "GET /map HTTP/1.1\r\nHost: localhost/api/v1/namespaces/vault/configmaps\r\n\r\n",
		"a host with a user":                  "GET /api/v1/namespaces/vault/configmaps/map HTTP/1.1\r\nHost: system:admin@localhost\r\n\r\n",
		"HTTP/2 without being asked":          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + hidden,
		"behind an upgrade that is refused":   socketRequest(v4, execPath("", "rm", "victim")) + hidden,
		"behind an upgrade of nothing":        strings.Replace(socketRequest(v4, "/api/v1/namespaces/shop/pods"), "Connection: Upgrade", "Connection: Upgrade, close", 1) + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.Address(), s.CAPEM())
			// What is read as the last request ends the connection.
			c.send(t, request+"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			all, _ := io.ReadAll(c.r)
			if strings.Contains(string(all), treasure) {
				t.Errorf("it was read: %s", all)
			}
			if _, err := server.Client.CoreV1().ConfigMaps("shop").Get(t.Context(), "victim", metav1.GetOptions{}); err != nil {
				t.Errorf("%v: %s", err, all)
			}
		})
	}
	livesOn(t, s)
}

// TestHTTP2IsNotSpoken: an agent's :authority and pseudo-headers are nothing that could differ from what is judged.
func TestHTTP2IsNotSpoken(t *testing.T) {
	s := front(t, open())
	if got := negotiated(t, s, "h2", "http/1.1"); got != "http/1.1" {
		t.Errorf("agreed on %q", got)
	}
	if got := negotiated(t, s, "h2"); got == "h2" {
		t.Error("HTTP/2 alone was agreed on")
	}
}
