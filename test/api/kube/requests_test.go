package kube_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

func TestAnAllowedRequestReachesTheAPIServerAndIsRecorded(t *testing.T) {
	configMap(t, "allowed")
	s := front(t, policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
		{Name: "reads", Action: policy.Allow, Match: policy.Match{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"configmaps"}, Namespaces: []string{namespace}}},
	}})
	got := kubectl(t, s, "get", "configmap", "allowed", "-o", "jsonpath={.data.colour}")
	if got.code != 0 || got.stdout != "blue" {
		t.Fatalf("%+v", got)
	}
	commands := s.Log.Find(record.KindCommand, func(e record.Event) bool { return strings.Contains(e.Text, "configmaps/allowed") })
	if len(commands) != 1 || commands[0].Verdict != "Allow" || commands[0].Rule != "reads" || commands[0].Digest == "" {
		t.Errorf("recorded: %+v", commands)
	}
	results := s.Log.Find(record.KindResult, func(e record.Event) bool { return e.Command == commands[0].Command })
	if len(results) == 0 || results[0].Tag != "200" || results[0].Bytes == 0 {
		t.Errorf("recorded: %+v", results)
	}
}

func TestADeniedRequestIsAnsweredWithAStatusThatKubectlPrints(t *testing.T) {
	configMap(t, "kept")
	s := front(t, allowing(policy.Rule{
		Name: "no-deletes", Action: policy.Deny, Message: "deletes go through review", Match: policy.Match{Verbs: []string{"delete", "deletecollection"}},
	}))
	got := kubectl(t, s, "delete", "configmap", "kept")
	want := `Error from server (Forbidden): deletes go through review; refused by Chaperone (policy agents/ops (generation 3), rule "no-deletes"). Nothing was changed. To be allowed it, ask the policy's owner to change the rule.`
	if got.code != 1 || strings.TrimSpace(got.stderr) != want {
		t.Errorf("%+v", got)
	}
	if !exists(t, "kept") {
		t.Error("it was deleted")
	}
	// The session goes on.
	if got := kubectl(t, s, "get", "configmap", "kept"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

func TestThePlaceholderIsWorthNothing(t *testing.T) {
	s := front(t, allowing())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CAPEM())
	direct := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+server.Address+"/api/v1/namespaces/shop/configmaps", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+kubeserver.Placeholder)
	answer, err := direct.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("the API server answers the placeholder with %s", answer.Status)
	}
	// Through the sidecar the agent is its service account.
	got := kubectl(t, s, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if got.stdout != "system:serviceaccount:shop:agent" {
		t.Errorf("%+v", got)
	}
}

func TestARenewedTokenIsUsed(t *testing.T) {
	s := front(t, allowing())
	if err := s.Token("expired.or.revoked"); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, s, "get", "configmaps"); !strings.Contains(got.stderr, "Unauthorized") && !strings.Contains(got.stderr, "provide credentials") {
		t.Fatalf("%+v", got)
	}
	if err := s.Token(token); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, s, "get", "configmaps"); got.code != 0 {
		t.Errorf("the 401 did not have the token read again: %+v", got)
	}
}

func TestATokenOfTheAgentsOwnStaysHere(t *testing.T) {
	s := front(t, allowing())
	got := kubectl(t, s, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--token", "ey.somebody.elses")
	if got.stdout != "system:serviceaccount:shop:agent" {
		t.Errorf("somebody else: %+v", got)
	}
}

// Without its headers the request would be done with the account's rights, which may be more than those asked for.
func TestActingAsSomebodyElseIsRefused(t *testing.T) {
	s := front(t, allowing())
	for _, as := range [][]string{{"--as", "system:admin", "--as-group", "system:masters"}, {"--as", "nobody"}} {
		got := kubectl(t, s, append([]string{"auth", "can-i", "delete", "pods"}, as...)...)
		if got.code == 0 || !strings.Contains(got.stderr, "Forbidden") || !strings.Contains(got.stderr, "an agent acts as its own account alone") {
			t.Errorf("%v: %+v", as, got)
		}
	}
}

func TestAWatchIsStreamedAsItComes(t *testing.T) {
	s := front(t, allowing())
	answer := get(t, s, "/api/v1/namespaces/shop/configmaps?watch=1&fieldSelector=metadata.name%3Dappears", nil)
	defer answer.Body.Close()
	configMap(t, "appears")
	event := make([]byte, 4096)
	n, err := answer.Body.Read(event)
	if err != nil || !strings.Contains(string(event[:n]), `"type":"ADDED"`) {
		t.Fatalf("%v: %s", err, event[:n])
	}
}

func TestRequestsThatCanBeReadTwoWaysAreRefused(t *testing.T) {
	configMap(t, "victim")
	s := front(t, allowing(policy.Rule{Name: "no-configmaps", Action: policy.Deny, Match: policy.Match{Resources: []string{"configmaps"}}}))
	for _, target := range []string{
		"/api/v1/namespaces/shop/./configmaps/victim", "/api/v1/namespaces/other/../shop/configmaps/victim",
		"/api/v1/namespaces/shop//configmaps/victim", "/api/v1/namespaces/shop/configmaps%2Fvictim",
		"/api/v1/namespaces/shop/%2e/configmaps/victim", `/api/v1/namespaces/shop\configmaps\victim`,
		"/api/v1/namespaces/shop/configmaps/victim?x=1;y=2", "//api/v1/namespaces/shop/configmaps/victim",
	} {
		code, body := raw(t, s, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if code/100 != 4 || strings.Contains(body, "blue") {
			t.Errorf("%s: %d %s", target, code, body)
		}
	}
}

func TestUpgradesOfWhatIsNotUpgradedAreRefused(t *testing.T) {
	s := front(t, allowing())
	for _, upgrade := range []string{"websocket", "SPDY/3.1", "h2c"} {
		code, body := raw(t, s, "GET /api/v1/namespaces/shop/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+upgrade+"\r\n\r\n")
		if code != http.StatusBadRequest || !strings.Contains(body, "upgrade") {
			t.Errorf("%s: %d %s", upgrade, code, body)
		}
	}
}

func TestWhatHasAPermissionOfItsOwnIsDeniedUnlessARuleNamesIt(t *testing.T) {
	everything := policy.Rule{Name: "everything", Action: policy.Allow, Match: policy.Match{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}
	for target, named := range map[string]string{
		"/api/v1/nodes/n/proxy/pods":                           "nodes/proxy",
		"/api/v1/namespaces/shop/pods/p/proxy/":                "pods/proxy",
		"/api/v1/namespaces/shop/services/http:s:80/proxy/x":   "services/proxy",
		"POST /api/v1/namespaces/shop/serviceaccounts/a/token": "serviceaccounts/token",
	} {
		t.Run(named, func(t *testing.T) {
			method, path, ok := strings.Cut(target, " ")
			if !ok {
				method, path = http.MethodGet, target
			}
			line := method + " " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
			code, body := raw(t, front(t, allowing(everything)), line)
			if code != http.StatusForbidden || !strings.Contains(body, "refused by Chaperone") {
				t.Errorf("with a star: %d %s", code, body)
			}
			code, body = raw(t, front(t, allowing(policy.Rule{Name: "named", Action: policy.Allow, Match: policy.Match{Resources: []string{named}}})), line)
			if strings.Contains(body, "Chaperone") {
				t.Errorf("named: %d %s", code, body)
			}
		})
	}
}

func TestDiscoveryWorksUnderDefaultDeny(t *testing.T) {
	s := front(t, policy.Kubernetes{DefaultAction: policy.Deny})
	if got := kubectl(t, s, "api-resources"); got.code != 0 || !strings.Contains(got.stdout, "configmaps") {
		t.Errorf("%+v", got)
	}
	if got := kubectl(t, s, "version"); got.code != 0 || !strings.Contains(got.stdout, "Server Version") {
		t.Errorf("%+v", got)
	}
	if got := kubectl(t, s, "get", "--raw", "/metrics"); !strings.Contains(got.stderr, "not allowed") {
		t.Errorf("%+v", got)
	}
}

func TestWhatCannotBeRecordedIsNotForwarded(t *testing.T) {
	configMap(t, "unrecorded")
	s := front(t, allowing())
	s.Log.Fails(record.ErrNotKept, nil)
	if got := kubectl(t, s, "delete", "configmap", "unrecorded"); got.code == 0 || !exists(t, "unrecorded") {
		t.Errorf("%+v", got)
	}
	s.Log.Fails(nil, nil)
	if got := kubectl(t, s, "delete", "configmap", "unrecorded"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// transport is an agent's connections.
func transport(t testing.TB, s *kubeserver.Sidecar) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// get asks as an agent, over a connection of its own.
func get(t testing.TB, s *kubeserver.Sidecar, target string, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Address()+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := transport(t, s).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// raw sends bytes as they are and reads one answer.
func raw(t testing.TB, s *kubeserver.Sidecar, text string) (code int, body string) {
	t.Helper()
	conn := dial(t, s)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return answerOf(t, conn)
}
