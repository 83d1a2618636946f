package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

const (
	// patience is how long anything may take on a machine that is busy.
	patience = 60 * time.Second
	// treasure is in a ConfigMap of a namespace that the policy denies, and in a Secret's value.
	treasure = "pieces-of-eight"
	card     = "4111111111111111"
)

var (
	server  *kubeserver.Server
	kubelet *kubeserver.Kubelet
	// token is the agent's account's; boss may do more.
	token, boss string
	marks       atomic.Int64
)

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
	dir, err := os.MkdirTemp("", "container-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := furnish(ctx, dir); err != nil {
		return 1, err
	}
	defer kubelet.Stop()
	return m.Run(), nil
}

// furnish makes what an adversary finds, and what it looks for.
func furnish(ctx context.Context, dir string) (err error) {
	for _, name := range []string{"shop", "vault"} {
		if _, err := server.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		object := metav1.ObjectMeta{Name: "map"}
		if _, err := server.Client.CoreV1().ConfigMaps(name).Create(ctx, &corev1.ConfigMap{ObjectMeta: object, Data: map[string]string{"what": map[string]string{"vault": treasure, "shop": "nothing"}[name]}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := server.Client.CoreV1().Secrets(name).Create(ctx, &corev1.Secret{ObjectMeta: object, StringData: map[string]string{"what": treasure}}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	// The agent's account may read all ConfigMaps and Secrets: the policy is what holds it back.
	rules := []rbacv1.PolicyRule{
		{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/proxy", "nodes/proxy", "services/proxy", "configmaps", "secrets", "serviceaccounts/token"}},
		{Verbs: []string{"impersonate"}, APIGroups: []string{""}, Resources: []string{"users", "groups", "serviceaccounts"}},
	}
	if token, err = server.Account(ctx, "shop", "agent", rules...); err != nil {
		return err
	}
	if boss, err = server.Account(ctx, "shop", "boss", kubeserver.Everything()); err != nil {
		return err
	}
	if kubelet, err = server.StartKubelet(ctx, "node", dir); err != nil {
		return err
	}
	return server.Pod(ctx, "shop", "solo", "node", "only")
}

// only lets few programs run, and the objects of one namespace be read.
func only() policy.Kubernetes {
	return policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
		{Name: "no-rm", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm"}}, Message: "nothing is removed here"},
		{Name: "programs", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec"}, Programs: []string{"echo", "cat", "printf", "true"}}},
		{Name: "objects", Action: policy.Allow, Match: policy.Match{Verbs: []string{"get", "list", "watch"}, Resources: []string{"configmaps", "secrets", "pods"}, Namespaces: []string{"shop"}}},
	}, Masking: cards()}
}

// open lets any command run that can be seen, over exec alone, and masks what it prints.
func open() policy.Kubernetes {
	return policy.Kubernetes{DefaultAction: policy.Allow, Rules: []policy.Rule{
		{Name: "no-vault", Action: policy.Deny, Match: policy.Match{Namespaces: []string{"vault"}}},
		{Name: "exec", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach"}}},
	}, Masking: cards()}
}

func cards() []policy.Masking { return []policy.Masking{{Detectors: []string{"CreditCard"}}} }

func front(t testing.TB, target policy.Kubernetes, change ...func(*policy.Policy)) *kubeserver.Sidecar {
	t.Helper()
	s, err := kubeserver.Front(t.Context(), t.TempDir(), server.Address, token, server.CAPEM(), target, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// mark is a word of one case.
func mark() string { return fmt.Sprintf("mark-%d-", marks.Add(1)) }

// ran tells whether a container was told the word.
func ran(word string) bool {
	for _, r := range kubelet.Runs() {
		if strings.Contains(strings.Join(r.Argv, " "), word) {
			return true
		}
	}
	return false
}

// execPath is an exec's target.
func execPath(options string, argv ...string) string {
	q := url.Values{"command": argv}.Encode()
	return "/api/v1/namespaces/shop/pods/solo/exec?" + q + "&stdout=true&stderr=true" + options
}

// livesOn sees to it that the sidecar still does what it should.
func livesOn(t testing.TB, s *kubeserver.Sidecar) {
	t.Helper()
	word := mark()
	c := dial(t, s.Address(), s.CAPEM())
	c.upgrade(t, "v4.channel.k8s.io", execPath("", "echo", word))
	if got := c.all(); !strings.Contains(got.stdout, word) || !ran(word) {
		t.Errorf("the sidecar does not serve any more: %+v", got)
	}
}
