// Package kube_test holds the Kubernetes protocol of the sidecar to its word against a real API server and etcd, with
// kubectl as agents run it.
package kube_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/onsi/ginkgo/v2" // its flags are given to every suite of `make test-api`
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

var (
	server  *kubeserver.Server
	kubelet *kubeserver.Kubelet
	token   string
)

const namespace = "shop"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if server, err = kubeserver.Start(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := makeNamespace(ctx, namespace); err != nil {
		return 1, err
	}
	if token, err = server.Account(ctx, namespace, "agent", kubeserver.Everything()); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "container-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if kubelet, err = server.StartKubelet(ctx, "node", dir); err != nil {
		return 1, err
	}
	defer kubelet.Stop()
	if err := errors.Join(
		server.Pod(ctx, namespace, "web", "node", "app", "side"),
		server.Pod(ctx, namespace, "solo", "node", "only"),
	); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func makeNamespace(ctx context.Context, name string) error {
	_, err := server.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// front starts a sidecar under the rules.
func front(t testing.TB, target policy.Kubernetes, change ...func(*policy.Policy)) *kubeserver.Sidecar {
	t.Helper()
	s, err := kubeserver.Front(t.Context(), t.TempDir(), server.Address, token, server.CAPEM(), target, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// allowing lets everything through that has no permission of its own.
func allowing(rules ...policy.Rule) policy.Kubernetes {
	return policy.Kubernetes{Rules: rules, DefaultAction: policy.Allow}
}

type result struct {
	stdout, stderr string
	code           int
}

// kubectl runs as an agent's, with the files that in-cluster clients read.
func kubectl(t testing.TB, s *kubeserver.Sidecar, args ...string) result {
	t.Helper()
	return kubectlWith(t, s, "", args...)
}

func kubectlWith(t testing.TB, s *kubeserver.Sidecar, stdin string, args ...string) result {
	t.Helper()
	return runKubectl(t, s.Address(), s.CAPEM(), kubeserver.Placeholder, nil, stdin, args...)
}

// direct runs kubectl as the same account without a sidecar.
func direct(t testing.TB, environment []string, stdin string, args ...string) result {
	t.Helper()
	return runKubectl(t, server.Address, server.CAPEM(), token, environment, stdin, args...)
}

func through(t testing.TB, s *kubeserver.Sidecar, environment []string, stdin string, args ...string) result {
	t.Helper()
	return runKubectl(t, s.Address(), s.CAPEM(), kubeserver.Placeholder, environment, stdin, args...)
}

// kubeconfig writes the files that in-cluster clients read.
func kubeconfig(t testing.TB, address string, root []byte, token string) (config, dir string) {
	t.Helper()
	dir = t.TempDir()
	config = filepath.Join(dir, "kubeconfig")
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, root, 0o600); err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: %s}}]
current-context: x
`, address, ca, token, namespace)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, dir
}

func runKubectl(t testing.TB, address string, root []byte, token string, environment []string, stdin string, args ...string) result {
	t.Helper()
	config, dir := kubeconfig(t, address, root, token)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, server.Kubectl, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+config, "HOME="+dir), environment...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// configMap makes an object to work on, and removes it afterwards.
func configMap(t testing.TB, name string) {
	t.Helper()
	maps := server.Client.CoreV1().ConfigMaps(namespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"colour": "blue"}}
	if _, err := maps.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = maps.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

// exists asks the API server itself.
func exists(t testing.TB, name string) bool {
	t.Helper()
	_, err := server.Client.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
