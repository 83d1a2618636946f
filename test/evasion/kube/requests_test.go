package kube

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestRequestsThatSayTwoThings holds nothing back but a container that is told what no rule allows, and a value that no
// rule shows.
func TestRequestsThatSayTwoThings(t *testing.T) {
	s := front(t, only())
	const exec = "/api/v1/namespaces/shop/pods/solo/exec"
	for name, target := range map[string]string{
		"a command twice, the first allowed":     exec + "?command=echo&command=x&Command=rm&command=-f&stdout=1",
		"a semicolon between parameters":         exec + "?command=echo;command=rm&command=MARK&stdout=1",
		"a program encoded":                      exec + "?command=%72%6d&command=MARK&stdout=1",
		"a parameter's name encoded":             exec + "?%63ommand=rm&command=MARK&stdout=1",
		"a program encoded twice":                exec + "?command=%2572m&command=MARK&stdout=1",
		"an empty command in front":              exec + "?command=&command=rm&command=MARK&stdout=1",
		"a NUL in the command":                   exec + "?command=echo%00rm&command=MARK&stdout=1",
		"a plus for a space":                     exec + "?command=rm+-f+MARK&stdout=1",
		"no command":                             exec + "?stdout=1&x=MARK",
		"a parameter that is not exec's":         exec + "?command=echo&command=MARK&stdout=1&args=rm",
		"standard input twice":                   exec + "?command=echo&command=MARK&stdin=false&stdin=true&stdout=1",
		"a container twice":                      exec + "?command=echo&command=MARK&container=only&container=other&stdout=1",
		"a container that is a pattern":          exec + "?command=echo&command=MARK&container=*&stdout=1",
		"a fragment":                             exec + "?command=echo&command=MARK#&command=rm",
		"a slash at the end":                     exec + "/?command=rm&command=MARK&stdout=1",
		"two slashes":                            "/api/v1/namespaces/shop/pods//solo/exec?command=rm&command=MARK&stdout=1",
		"a dot segment":                          "/api/v1/namespaces/shop/pods/solo/./exec?command=rm&command=MARK&stdout=1",
		"a parent":                               "/api/v1/namespaces/shop/configmaps/../pods/solo/exec?command=rm&command=MARK&stdout=1",
		"an encoded parent":                      "/api/v1/namespaces/shop/configmaps/%2e%2e/pods/solo/exec?command=rm&command=MARK&stdout=1",
		"an encoded slash":                       "/api/v1/namespaces/shop/pods/solo%2fexec?command=rm&command=MARK&stdout=1",
		"a backslash":                            `/api/v1/namespaces/shop/pods/solo\exec?command=rm&command=MARK&stdout=1`,
		"an encoded letter":                      "/api/v1/namespaces/shop/pods/solo/e%78ec?command=rm&command=MARK&stdout=1",
		"capitals":                               "/API/V1/namespaces/shop/pods/solo/EXEC?command=rm&command=MARK&stdout=1",
		"an absolute form":                       "https://kubernetes.default.svc" + exec + "?command=rm&command=MARK&stdout=1",
		"something behind exec":                  exec + "/rm?command=rm&command=MARK&stdout=1",
		"the old proxy path":                     "/api/v1/proxy/namespaces/shop/pods/solo/exec?command=rm&command=MARK",
		"a watch of it":                          "/api/v1/watch/namespaces/shop/pods/solo/exec?command=rm&command=MARK&stdout=1",
		"the kubelet through the node":           "/api/v1/nodes/node/proxy/exec/shop/solo/only?command=rm&command=MARK&output=1",
		"the kubelet by its port":                "/api/v1/nodes/https:node:10250/proxy/exec/shop/solo/only?command=rm&command=MARK&output=1",
		"the kubelet's own run":                  "/api/v1/nodes/node/proxy/run/shop/solo/only?cmd=rm%20MARK",
		"the pod through the proxy":              "/api/v1/namespaces/shop/pods/solo:80/proxy/MARK",
		"a service through the proxy":            "/api/v1/namespaces/shop/services/map:80/proxy/MARK",
		"exec of a deployment":                   "/apis/apps/v1/namespaces/shop/deployments/solo/exec?command=rm&command=MARK&stdout=1",
		"exec in a group that is not":            "/apis//v1/namespaces/shop/pods/solo/exec?command=rm&command=MARK&stdout=1",
		"a ConfigMap of another namespace":       "/api/v1/namespaces/vault/configmaps/map",
		"all ConfigMaps":                         "/api/v1/configmaps",
		"by a parent":                            "/api/v1/namespaces/shop/../vault/configmaps/map",
		"by an encoded parent":                   "/api/v1/namespaces/shop/%2e%2e/vault/configmaps/map",
		"by a doubly encoded parent":             "/api/v1/namespaces/shop/%252e%252e/vault/configmaps/map",
		"by an encoded slash":                    "/api/v1/namespaces/shop%2f..%2fvault/configmaps/map",
		"by a watch":                             "/api/v1/watch/namespaces/vault/configmaps?timeoutSeconds=1",
		"by a watch of all":                      "/api/v1/configmaps?watch=1&timeoutSeconds=1",
		"by a watch of one, selected":            "/api/v1/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.namespace%3Dvault",
		"by a namespace that is a pattern":       "/api/v1/namespaces/*/configmaps/map",
		"a Secret":                               "/api/v1/namespaces/shop/secrets/map",
		"a Secret by a list":                     "/api/v1/namespaces/shop/secrets",
		"a Secret by a watch":                    "/api/v1/namespaces/shop/secrets?watch=1&timeoutSeconds=1",
		"a Secret by a table":                    "/api/v1/namespaces/shop/secrets?includeObject=Object",
		"a Secret of another namespace":          "/api/v1/namespaces/vault/secrets/map",
		"a path with a slash in front of it all": "//api/v1/namespaces/vault/configmaps/map",
		"a path of another API":                  "/metrics/../api/v1/namespaces/vault/configmaps/map",
	} {
		for _, upgrade := range []bool{true, false} {
			how := map[bool]string{true: " as a WebSocket", false: ""}[upgrade]
			t.Run(name+how, func(t *testing.T) {
				word := mark()
				c := dial(t, s.Address(), s.CAPEM())
				request := "GET " + strings.ReplaceAll(target, "MARK", word) + " HTTP/1.1\r\nHost: x\r\nAccept: application/vnd.kubernetes.protobuf, application/json;as=Table;v=v1;g=meta.k8s.io, application/json\r\nConnection: close\r\n\r\n"
				if upgrade {
					request = socketRequest("v4.channel.k8s.io", strings.ReplaceAll(target, "MARK", word))
				}
				c.send(t, request)
				code, body := c.answer()
				if code == 101 {
					body += c.all().wire
				}
				told := ran(word)
				if told && !strings.Contains(name, "the first allowed") {
					t.Errorf("%d: the container was told to run it", code)
				}
				if strings.Contains(body, treasure) || strings.Contains(body, base64.StdEncoding.EncodeToString([]byte(treasure))) {
					t.Errorf("%d: %s", code, body)
				}
			})
		}
	}
	livesOn(t, s)
}

func TestOtherIdentities(t *testing.T) {
	s := front(t, open())
	bearer := base64.RawURLEncoding.EncodeToString([]byte(boss))
	for name, headers := range map[string]string{
		"its own token":                  "Authorization: Bearer " + boss + "\r\n",
		"its own token twice":            "Authorization: Bearer x\r\nAuthorization: Bearer " + boss + "\r\n",
		"a name in lower case":           "authorization: bearer " + boss + "\r\n",
		"a folded header":                "X: y\r\n Authorization: Bearer " + boss + "\r\n",
		"a token in a subprotocol":       handshake + "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + bearer + ", v4.channel.k8s.io\r\n",
		"a user to be":                   "Impersonate-User: system:admin\r\nImpersonate-Group: system:masters\r\n",
		"a name in capitals":             "IMPERSONATE-USER: system:serviceaccount:shop:boss\r\n",
		"a group alone":                  "Impersonate-Group: system:masters\r\n",
		"a uid":                          "Impersonate-Uid: 1\r\n",
		"extra":                          "Impersonate-Extra-Scopes: all\r\nImpersonate-User: system:admin\r\n",
		"a front proxy's word":           "X-Remote-User: system:admin\r\nX-Remote-Group: system:masters\r\n",
		"a header that hides another":    "Connection: close, Authorization\r\nAuthorization: Bearer " + boss + "\r\n",
		"an underscore":                  "Impersonate_User: system:admin\r\nImpersonate-Group: system:masters\r\n",
		"a space in front of the colon":  "Impersonate-User : system:admin\r\n",
		"basic authentication":           "Authorization: Basic YWRtaW46YWRtaW4=\r\n",
		"a proxy's authorization":        "Proxy-Authorization: Bearer " + boss + "\r\n",
		"a cookie":                       "Cookie: token=" + boss + "\r\n",
		"a header for the first request": "Content-Length: 0\r\n\r\nGET /api/v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + boss + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.Address(), s.CAPEM())
			c.send(t, "GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n")
			for range strings.Count(headers, "HTTP/1.1") + 1 {
				// The account may not list nodes; boss and masters may.
				if code, body := c.answer(); code < 400 && code != 0 || strings.Contains(body, "NodeList") {
					t.Errorf("%d %s", code, body)
				}
			}
		})
	}
	livesOn(t, s)
}

// TestHandshakesThatAreNone asks for sessions in ways that the two sides could take for different ones.
func TestHandshakesThatAreNone(t *testing.T) {
	s := front(t, only())
	const spdy = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
	const protocol = "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
	for name, request := range map[string]string{
		"no upgrade":                     "GET TARGET HTTP/1.1\r\nHost: x\r\n\r\n",
		"a post without one":             "POST TARGET HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"both at once":                   "GET TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + protocol + "Upgrade: SPDY/3.1\r\n\r\n",
		"both in one header":             "GET TARGET HTTP/1.1\r\nHost: x\r\n" + strings.Replace(handshake, "websocket", "websocket, SPDY/3.1", 1) + protocol + "\r\n",
		"h2c":                            "GET TARGET HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
		"SPDY of another version":        "POST TARGET HTTP/1.1\r\nHost: x\r\n" + strings.Replace(spdy, "3.1", "2", 1) + "Content-Length: 0\r\n\r\n",
		"SPDY without a protocol":        "POST TARGET HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n",
		"a WebSocket by post":            "POST TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + protocol + "Content-Length: 0\r\n\r\n",
		"a WebSocket by put":             "PUT TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + protocol + "Content-Length: 0\r\n\r\n",
		"a WebSocket of version 8":       "GET TARGET HTTP/1.1\r\nHost: x\r\n" + strings.Replace(handshake, "13", "8", 1) + protocol + "\r\n",
		"a key that is short":            "GET TARGET HTTP/1.1\r\nHost: x\r\n" + strings.Replace(handshake, "dGhlIHNhbXBsZSBub25jZQ==", "eA==", 1) + protocol + "\r\n",
		"no key":                         "GET TARGET HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + protocol + "\r\n",
		"a protocol that is not":         "GET TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + "Sec-WebSocket-Protocol: v9.channel.k8s.io\r\n\r\n",
		"port-forward's protocol":        "GET TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n",
		"HTTP/1.0":                       "GET TARGET HTTP/1.0\r\nHost: x\r\n" + handshake + protocol + "\r\n",
		"no Connection header":           "GET TARGET HTTP/1.1\r\nHost: x\r\n" + strings.Replace(handshake, "Connection: Upgrade\r\n", "", 1) + protocol + "\r\n",
		"two lengths":                    "POST TARGET HTTP/1.1\r\nHost: x\r\n" + spdy + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"a length and chunks":            "POST TARGET HTTP/1.1\r\nHost: x\r\n" + spdy + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a transfer coding that is none": "POST TARGET HTTP/1.1\r\nHost: x\r\n" + spdy + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a body that is a request":       "GET /api/v1/namespaces/shop/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nGET TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + protocol + "\r\n",
		"HTTP/2's preface":               "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a line without a version":       "GET TARGET\r\n\r\n",
		"bare line feeds":                "GET TARGET HTTP/1.1\nHost: x\n" + strings.ReplaceAll(handshake+protocol, "\r\n", "\n") + "\n",
		"CONNECT":                        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
		"a method that is not":           "EXEC TARGET HTTP/1.1\r\nHost: x\r\n" + handshake + protocol + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			word := mark()
			c := dial(t, s.Address(), s.CAPEM())
			// What the policy forbids in any case.
			c.send(t, strings.ReplaceAll(request, "TARGET", execPath("", "rm", "-f", word)))
			if code, body := c.answer(); code == 101 || code == 200 && !strings.Contains(name, "body") {
				t.Errorf("%d %s", code, body)
			}
			c.Close()
			if ran(word) {
				t.Error("the container was told to run it")
			}
		})
	}
	livesOn(t, s)
}
