package kubeserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Server is a kube-apiserver with its etcd.
type Server struct {
	// Admin is in system:masters.
	Admin *rest.Config
	// Client is the administrator's.
	Client kubernetes.Interface
	// Address is host:port; the certificate is for localhost too.
	Address string
	// Kubectl is the path of the kubectl of the same version, of a server that was started.
	Kubectl string
	env     *envtest.Environment
}

// ErrUnavailable says that there are no binaries to run.
var ErrUnavailable = errors.New("KUBEBUILDER_ASSETS names the folder with kube-apiserver, etcd and kubectl; `make assets` builds them")

// Start runs a server. The caller stops it.
func Start() (*Server, error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		return nil, ErrUnavailable
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// Service accounts are made by the tests, without the controllers that a cluster has for them.
	env.ControlPlane.GetAPIServer().Configure().
		Set("disable-admission-plugins", "ServiceAccount", "StorageObjectInUseProtection")
	config, err := env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting kube-apiserver and etcd: %w", err)
	}
	s, err := Existing(config)
	if err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	s.env, s.Kubectl = env, filepath.Join(assets, "kubectl")
	return s, nil
}

// Existing is a server that runs already, of which admin is in system:masters. Stop leaves it alone.
func Existing(admin *rest.Config) (*Server, error) {
	s := &Server{Admin: admin}
	if !strings.Contains(admin.Host, "://") {
		admin.Host = "https://" + admin.Host
	}
	at, err := url.Parse(admin.Host)
	if err != nil {
		return nil, err
	}
	s.Address = at.Host
	if s.Client, err = kubernetes.NewForConfig(admin); err != nil {
		return nil, err
	}
	return s, nil
}

// Stop ends what Start started.
func (s *Server) Stop() error {
	if s.env == nil {
		return nil
	}
	return s.env.Stop()
}

// CAPEM is the root of the server's certificate.
func (s *Server) CAPEM() []byte { return s.Admin.CAData }

// Account makes a service account that may do what the rules say in all namespaces, and returns its token.
func (s *Server) Account(ctx context.Context, namespace, name string, rules ...rbacv1.PolicyRule) (token string, err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if _, err := s.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name}
	if err := s.grant(ctx, namespace+"-"+name, subject, rules); err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](3600)}}
	answer, err := s.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// User makes a user who may do what the rules say in all namespaces, and returns a client certificate. The server has to
// be one that was started.
func (s *Server) User(ctx context.Context, name string, rules ...rbacv1.PolicyRule) (certificatePEM, keyPEM []byte, err error) {
	if s.env == nil {
		return nil, nil, errors.New("a certificate authority is known of a server alone that was started")
	}
	if err := s.grant(ctx, "user-"+name, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: name}, rules); err != nil {
		return nil, nil, err
	}
	user, err := s.env.AddUser(envtest.User{Name: name}, nil)
	if err != nil {
		return nil, nil, err
	}
	return user.Config().CertData, user.Config().KeyData, nil
}

// grant lets somebody do what the rules say in all namespaces.
func (s *Server) grant(ctx context.Context, name string, subject rbacv1.Subject, rules []rbacv1.PolicyRule) error {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if _, err := s.Client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{subject},
	}
	_, err := s.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	return err
}

// Everything is a rule that allows all.
func Everything() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}
}

// EveryPath is a rule that allows all that is no resource.
func EveryPath() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}
}
