package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/environment"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// side is one of the two ways to the cluster, with a namespace and an account of its own there.
type side struct {
	name, namespace string
	config          *rest.Config
	// folder is where its commands run; kubeconfig is in it.
	folder, kubeconfig string
}

// lab is the cluster with both ways to it.
type lab struct {
	server          *kubeserver.Server
	environment     *environment.Environment
	sidecar         *kubeserver.Sidecar
	direct, through *side
	folder          string
	only            string
	verbose         bool
	listed          difference.List
}

// allowingAll is the policy: sessions and what is out of sight need a rule that names them.
func allowingAll() policy.Kubernetes {
	yes := true
	return policy.Kubernetes{DefaultAction: policy.Allow, Rules: []policy.Rule{
		{Name: "typed", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach"}, Interactive: &yes}},
		{Name: "unresolved", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach"}, Unresolved: &yes}},
		{Name: "sessions", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach", "pods/portforward"}}},
		{Name: "out-of-sight", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/proxy", "services/proxy", "nodes/proxy", "serviceaccounts/token"}}},
	}}
}

func newLab(ctx context.Context) (l *lab, err error) {
	l = &lab{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.environment, err = environment.Open(); err != nil {
		return nil, err
	}
	admin, err := clientcmd.BuildConfigFromFlags("", l.environment.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if l.server, err = kubeserver.Existing(admin); err != nil {
		return nil, err
	}
	if l.folder, err = os.MkdirTemp("", "chaperone-conformance-"); err != nil {
		return nil, err
	}
	// Names of the same length keep the tables that kubectl prints the same.
	if l.direct, _, err = l.newSide(ctx, "past"); err != nil {
		return nil, err
	}
	through, token, err := l.newSide(ctx, "thru")
	if err != nil {
		return nil, err
	}
	l.through = through
	if l.sidecar, err = kubeserver.Front(ctx, l.folder, l.server.Address, token, l.server.CAPEM(), allowingAll()); err != nil {
		return nil, err
	}
	through.config = l.sidecar.Config()
	through.config.Host = "https://localhost:" + port(l.sidecar.Address())
	for _, s := range []*side{l.direct, through} {
		if err := s.prepare(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// newSide makes an empty namespace and an account that may do everything; its config is that of the way past the
// sidecar.
func (l *lab) newSide(ctx context.Context, name string) (*side, string, error) {
	s := &side{name: name, namespace: "conformance-" + name}
	s.folder = filepath.Join(l.folder, name)
	if err := os.Mkdir(s.folder, 0o755); err != nil {
		return nil, "", err
	}
	if err := l.remove(ctx, s.namespace); err != nil {
		return nil, "", err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := l.server.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return nil, "", err
	}
	token, err := l.server.Account(ctx, s.namespace, "operator", kubeserver.Everything(), kubeserver.EveryPath())
	if err != nil {
		return nil, "", err
	}
	s.config = &rest.Config{
		Host: l.server.Admin.Host, BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: l.server.CAPEM()},
	}
	return s, token, nil
}

// remove takes a namespace of an earlier run away, with the account's rights.
func (l *lab) remove(ctx context.Context, namespace string) error {
	none := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	for _, err := range []error{
		l.server.Client.RbacV1().ClusterRoleBindings().Delete(ctx, namespace+"-operator", none),
		l.server.Client.RbacV1().ClusterRoles().Delete(ctx, namespace+"-operator", none),
		l.server.Client.CoreV1().Namespaces().Delete(ctx, namespace, none),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := l.server.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func (l *lab) close() {
	if l.sidecar != nil {
		l.sidecar.Stop()
	}
	if l.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		for _, s := range []*side{l.direct, l.through} {
			if s == nil {
				continue
			}
			if err := l.remove(ctx, s.namespace); err != nil {
				fmt.Fprintln(os.Stderr, "cleaning up:", err)
			}
		}
	}
	if l.folder != "" {
		_ = os.RemoveAll(l.folder)
	}
}

// prepare writes the side's kubeconfig, and what its commands read.
func (s *side) prepare() error {
	ca := filepath.Join(s.folder, "ca.crt")
	s.kubeconfig = filepath.Join(s.folder, "kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: %s}}]
current-context: x
`, s.config.Host, ca, s.config.BearerToken, s.namespace)
	if err := errors.Join(os.WriteFile(ca, s.config.CAData, 0o600), os.WriteFile(s.kubeconfig, []byte(content), 0o600)); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(s.folder, "files"), files)
}

func port(address string) string {
	at, err := url.Parse("tcp://" + address)
	if err != nil {
		return ""
	}
	return at.Port()
}
