package broker

import (
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/test/environment"
)

func TestKubeconfig(t *testing.T) {
	root, certificate, key, err := environment.ServerCertificate("agent")
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	file := func(cluster, user string) string {
		return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://elsewhere:6443", ` + cluster + `}}]
users: [{name: u, user: {` + user + `}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
	}
	ca := "certificate-authority-data: " + b64(root)
	pair := "client-certificate-data: " + b64(certificate) + ", client-key-data: " + b64(key)
	tests := map[string]struct{ text, want string }{
		"a token":                             {file(ca, "token: sesame"), ""},
		"a client certificate":                {file(ca, pair), ""},
		"a token, its server by another name": {file(ca+", tls-server-name: kubernetes", "token: sesame"), ""},
		"nothing":                             {"", "has no key kubeconfig"},
		"something else":                      {"{]", "cannot be read"},
		"no current context":                  {strings.ReplaceAll(file(ca, "token: sesame"), "current-context: x", ""), "without a current context"},
		"a context of nobody":                 {strings.ReplaceAll(file(ca, "token: sesame"), "user: u}", "user: v}"), "that is not in it"},
		"a server that is not verified":       {file("insecure-skip-tls-verify: true", "token: sesame"), "has to be verified"},
		"a root in a file":                    {file("certificate-authority: /ca.crt", "token: sesame"), "names a file"},
		"no root":                             {file("tls-server-name: x", "token: sesame"), "holds no certificate"},
		"a proxy":                             {file(ca+", proxy-url: \"http://proxy:3128\"", "token: sesame"), "proxy-url"},
		"a plugin":                            {file(ca, "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}"), "plugin"},
		"a token in a file":                   {file(ca, "tokenFile: /token"), "in a file"},
		"a password":                          {file(ca, "username: a, password: b"), "a password"},
		"somebody else":                       {file(ca, "token: sesame, as: admin"), "somebody else"},
		"a certificate without its key":       {file(ca, "client-certificate-data: "+b64(certificate)), "no pair"},
		"no credential":                       {file(ca, ""), "neither a token nor"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			lease, err := kubeconfig(&corev1.Secret{Data: map[string][]byte{kubeconfigKey: []byte(tc.text)}})
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "sesame") {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(lease.GetCaPem()) != string(root) || lease.GetToken() == "" && len(lease.GetKeyPem()) == 0 {
				t.Errorf("%+v", lease)
			}
			if strings.Contains(name, "another name") && lease.GetServerName() != "kubernetes" {
				t.Errorf("the server's name is %q", lease.GetServerName())
			}
		})
	}
}
