// Package api_test holds the admission webhooks and the schema to their word against a real API server and etcd, with
// real users, groups and RBAC.
//
// What an agent or a tenant tries around approvals and recordings, and the specs and tests that hold it:
//   - Approving itself, or by a service account: "refuses a service account with every permission".
//   - Editing spec.decisions, deciding in another's name: "tampering with an approval request", "counts once where another
//     mutating webhook makes ours run again" and "refuses the whole request where another mutating webhook adds an entry";
//     written while no webhook ran: "counts nothing that was written while the webhooks were away", and in operator
//     "count no decision that admission has not stamped".
//   - Deciding twice or late, racing patches: "counts distinct people for a quorum, and nobody twice", "refuses what comes
//     after the expiry", "refuses what comes after the use", "keeps every one of many racing decisions".
//   - Other bytes or values under an approval: in sidecar/postgres "an approval is for the same statement, values, database
//     and path alone", in test/evasion/ssh TestApprovals, in kube TestAnApprovalIsForTheBodyThatWasAsked.
//   - Replaying a used grant: in operator "release a command once", "give one grant to one of two replicas that race for
//     it", "believe no cache that is behind a use" and "... behind a denial".
//   - The grant of another pod: in operator "answer at once where nobody waits" and "count for the whole workload where the
//     rule says so".
//   - Flooding: in operator "bound what one pod can ask of people", "join identical commands into one request".
//   - Hiding the end of a command, terminal escapes: in operator "show approvers neither terminal escapes nor a hidden end"
//     and "show with kubectl nothing that a terminal acts on"; of recordings, the tests of sidecar/record and of the plugin.
//   - Filling the spool, killing the sidecar, cutting the network: in operator "loses no acknowledged
//     command of 1,000 sessions" and "lose nothing while the bucket is down", and the tests of sidecar/record.
//
// One person with two user names is two people to Kubernetes, and so to a quorum: whoever gives out names answers for that.
package api_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/webhook"
)

const (
	operatorNamespace = "chaperone-system"
	operatorUser      = "system:serviceaccount:" + operatorNamespace + ":chaperone-operator"
	sidecarImage      = "registry.example/chaperone/sidecar:v1"
)

// configDir holds what the operator is installed with: the suite runs on the same definitions, roles and webhooks.
var configDir = filepath.Join("..", "..", "config")

var decisionKey = []byte("the suite's key of thirty-two by")

var (
	scheme = runtime.NewScheme()
	env    *envtest.Environment
	// admin is in system:masters; operator is the operator's own user with its own role.
	admin, operator client.Client
	stop            context.CancelFunc
)

func TestAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "admission against a real API server")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	Expect(assets).NotTo(BeEmpty(), "KUBEBUILDER_ASSETS names the folder with kube-apiserver and etcd; `make assets` builds them, `make test-api` sets it")
	logf.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))

	By("starting kube-apiserver and etcd")
	env = &envtest.Environment{
		Scheme:                   scheme,
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(configDir, "crd", "bases")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// Tokens are put into pods by this plugin, which envtest leaves out for want of service accounts; the suite makes
	// those itself.
	env.ControlPlane.GetAPIServer().Configure().
		Set("disable-admission-plugins", "StorageObjectInUseProtection").
		Append("enable-admission-plugins", "AlwaysPullImages")
	config, err := env.Start()
	Expect(err).NotTo(HaveOccurred())
	admin, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	By("installing the operator's namespace, roles and admission policies")
	Expect(admin.Create(ctx, namespaced(operatorNamespace))).To(Succeed())
	install(ctx, "rbac/role.yaml", "rbac/operator.yaml", "rbac/approver.yaml", "admission/token-audience.yaml")
	operatorConfig := configOf(operatorUser, "system:serviceaccounts", "system:serviceaccounts:"+operatorNamespace)
	operator = clientFor(operatorConfig)

	By("starting the webhooks")
	startWebhooks(ctx, operatorConfig)
}, NodeTimeout(4*time.Minute))

var _ = AfterSuite(func() {
	if stop != nil {
		stop()
	}
	if env != nil {
		Expect(env.Stop()).To(Succeed())
	}
})

func startWebhooks(ctx SpecContext, config *rest.Config) {
	GinkgoHelper()
	options := &env.WebhookInstallOptions
	Expect(options.PrepWithoutInstalling()).To(Succeed())
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{
			Host: options.LocalServingHost, Port: options.LocalServingPort, CertDir: options.LocalServingCertDir,
		}),
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(webhook.Setup(mgr, webhook.Options{
		SidecarImage:      sidecarImage,
		BrokerAddress:     "chaperone-broker.chaperone-system.svc:443",
		RootPEM:           func() []byte { return []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n") },
		OperatorNamespace: operatorNamespace,
		OperatorUsername:  operatorUser,
		DecisionKey:       func() []byte { return decisionKey },
	})).To(Succeed())
	registerMeddlers(mgr.GetWebhookServer())

	running, cancel := context.WithCancel(context.Background())
	stop = cancel
	go func() {
		defer GinkgoRecover()
		Expect(mgr.Start(running)).To(Succeed())
	}()
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	Eventually(func() error { return mgr.GetWebhookServer().StartedChecker()(nil) }).
		WithTimeout(30 * time.Second).Should(Succeed())
	install(ctx, "webhook/manifests.yaml")
	// The API server takes up a configuration through its own watch.
	Eventually(func(g Gomega) {
		err := admin.Create(ctx, policyIn(operatorNamespace, "probe"), client.DryRunAll)
		g.Expect(err).To(MatchError(ContainSubstring("never put behind a sidecar")))
	}).WithContext(ctx).WithTimeout(30 * time.Second).Should(Succeed())
}

func namespaced(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
