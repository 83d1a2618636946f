package environment

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// User is a person with a client certificate of the cluster's own CA and a kubeconfig of their own.
type User struct {
	Name       string
	Groups     []string
	kubeconfig string
	env        *Environment
}

// NewUser makes a person through the cluster's CertificateSigningRequest API; the kubeconfig lands in dir.
func (e *Environment) NewUser(ctx context.Context, dir, name string, groups ...string) (*User, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: name, Organization: groups},
	}, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	object := fmt.Sprintf("user-%s-%d", name, time.Now().UnixNano())
	if _, err := e.Apply(ctx, fmt.Sprintf(`apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec:
  request: %s
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
`, object, base64.StdEncoding.EncodeToString(csr))); err != nil {
		return nil, err
	}
	if _, err := e.Kubectl(ctx, "certificate", "approve", object); err != nil {
		return nil, err
	}
	var certificate string
	for range 50 {
		got, err := e.Kubectl(ctx, "get", "csr", object, "-o", "jsonpath={.status.certificate}")
		if err != nil {
			return nil, err
		}
		if certificate = got.Stdout; certificate != "" {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if certificate == "" {
		return nil, fmt.Errorf("the cluster did not sign the certificate of user %s within 10 s", name)
	}
	if _, err := e.Kubectl(ctx, "delete", "csr", object); err != nil {
		return nil, err
	}

	base, err := e.Kubectl(ctx, "config", "view", "--raw", "--minify", "--flatten", "-o",
		"jsonpath={.clusters[0].cluster.server} {.clusters[0].cluster.certificate-authority-data}")
	if err != nil {
		return nil, err
	}
	server, ca, _ := strings.Cut(strings.TrimSpace(base.Stdout), " ")
	u := &User{Name: name, Groups: groups, env: e, kubeconfig: filepath.Join(dir, name+".kubeconfig")}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	return u, os.WriteFile(u.kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: main
contexts: [{name: main, context: {cluster: main, user: %[1]s}}]
clusters: [{name: main, cluster: {server: %[2]s, certificate-authority-data: %[3]s}}]
users: [{name: %[1]s, user: {client-certificate-data: %[4]s, client-key-data: %[5]s}}]
`, name, server, ca, certificate, base64.StdEncoding.EncodeToString(keyPEM)), 0o600)
}

// Kubectl runs kubectl as this person.
func (u *User) Kubectl(ctx context.Context, args ...string) (Result, error) {
	return u.env.run(ctx, u.kubeconfig, "", append([]string{"kubectl"}, args...)...)
}

// Apply applies manifests as this person.
func (u *User) Apply(ctx context.Context, manifests string) (Result, error) {
	return u.env.run(ctx, u.kubeconfig, manifests, "kubectl", "apply", "-f", "-")
}
