// Package plugin_test runs the kubectl plugin as people do, a program with a user's kubeconfig, against a real API
// server with the operator's own admission, its roles, and its recordings API behind the real aggregator.
package plugin_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/webhook"
)

const (
	operatorNamespace = "chaperone-system"
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":chaperone-operator"
)

var (
	repository = filepath.Join("..", "..", "..")
	scheme     = runtime.NewScheme()
	env        *envtest.Environment
	admin      client.Client
	operator   client.Client
	// programs is a folder with kubectl and the plugin.
	programs string
	stop     context.CancelFunc = func() {}
)

func TestPlugin(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "the kubectl plugin against a real API server")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	Expect(assets).NotTo(BeEmpty(), "KUBEBUILDER_ASSETS names the folder with kube-apiserver and etcd; `make assets` builds them, `make test-api` sets it")
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	Expect(apiregistrationv1.AddToScheme(scheme)).To(Succeed())

	By("building the plugin")
	programs = GinkgoT().TempDir()
	run(ctx, repository, "go", "build", "-tags", "netgo,osusergo", "-ldflags", "-X main.version=v1.2.3", "-o", programs, "./cmd/kubectl-chaperone")
	Expect(copyFile(filepath.Join(repository, "cmd", "kubectl-chaperone", "kubectl_complete-chaperone"), programs)).To(Succeed())
	Expect(os.Symlink(filepath.Join(assets, "kubectl"), filepath.Join(programs, "kubectl"))).To(Succeed())

	By("starting kube-apiserver and etcd")
	front := newFrontProxy()
	env = &envtest.Environment{
		Scheme: scheme, BinaryAssetsDirectory: assets, ErrorIfCRDPathMissing: true,
		CRDDirectoryPaths:        []string{filepath.Join(repository, "config", "crd", "bases")},
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
		WebhookInstallOptions: envtest.WebhookInstallOptions{Paths: []string{filepath.Join(repository, "config", "webhook", "manifests.yaml")}},
	}
	// Tokens are put into pods by a plugin that envtest leaves out for want of service accounts; the suite makes those itself.
	env.ControlPlane.GetAPIServer().Configure().Set("disable-admission-plugins", "StorageObjectInUseProtection").
		Set("proxy-client-cert-file", front.certificate).Set("proxy-client-key-file", front.key).
		Set("requestheader-client-ca-file", front.ca).Set("requestheader-allowed-names", frontProxyName).
		Set("requestheader-username-headers", "X-Remote-User").Set("requestheader-group-headers", "X-Remote-Group").
		Set("requestheader-extra-headers-prefix", "X-Remote-Extra-")
	config, err := env.Start()
	Expect(err).NotTo(HaveOccurred())
	admin, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	By("starting admission, as the operator's own user")
	for _, file := range []string{"manager/namespace.yaml", "rbac/role.yaml", "rbac/operator.yaml", "rbac/viewer.yaml", "rbac/approver.yaml", "rbac/auditor.yaml", "rbac/verifier.yaml"} {
		apply(ctx, filepath.Join(repository, "config", file))
	}
	user, err := env.AddUser(envtest.User{Name: operatorUser, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + operatorNamespace}}, &rest.Config{QPS: -1})
	Expect(err).NotTo(HaveOccurred())
	operator, err = client.New(user.Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	startAdmission(ctx, user.Config())
	startRecordings(ctx, user.Config())
}, NodeTimeout(8*time.Minute))

var _ = AfterSuite(func() {
	stop()
	if env != nil {
		Expect(env.Stop()).To(Succeed())
	}
})

func startAdmission(ctx context.Context, config *rest.Config) {
	GinkgoHelper()
	options := &env.WebhookInstallOptions
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Host: options.LocalServingHost, Port: options.LocalServingPort, CertDir: options.LocalServingCertDir}),
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(webhook.Setup(mgr, webhook.Options{
		SidecarImage: "registry.example/chaperone/sidecar:v1", BrokerAddress: "chaperone-broker.chaperone-system.svc:443",
		RootPEM:           func() []byte { return []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n") },
		OperatorNamespace: operatorNamespace, OperatorUsername: operatorUser,
		DecisionKey: func() []byte { return []byte("the suite's key of thirty-two by") },
	})).To(Succeed())
	running, cancel := context.WithCancel(context.Background())
	stop = cancel
	go func() {
		defer GinkgoRecover()
		Expect(mgr.Start(running)).To(Succeed())
	}()
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	Eventually(func() error { return mgr.GetWebhookServer().StartedChecker()(nil) }).WithTimeout(time.Minute).Should(Succeed())
}

// run runs a program that has to succeed.
func run(ctx context.Context, dir, name string, args ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

// apply applies a manifest as an administrator.
func apply(ctx context.Context, file string) {
	GinkgoHelper()
	kubeconfig := filepath.Join(GinkgoT().TempDir(), "admin")
	Expect(os.WriteFile(kubeconfig, env.KubeConfig, 0o600)).To(Succeed())
	run(ctx, ".", filepath.Join(programs, "kubectl"), "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", file)
}

func copyFile(from, folder string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, filepath.Base(from)), text, 0o700)
}

// newNamespace makes a namespace with a service account.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agents-"}}
	Expect(admin.Create(ctx, ns)).To(Succeed())
	Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns.Name}})).To(Succeed())
	return ns.Name
}
