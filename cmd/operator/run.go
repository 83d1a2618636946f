package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/controllers/logs"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/webhook"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=chaperone-system,verbs=get;list;watch;create;update;patch;delete

// leaderLease is the name of the Lease by which replicas agree on a leader.
const leaderLease = "chaperone-operator"

// run starts everything and returns when ctx ends or a part fails.
func run(ctx context.Context, f *flags) error {
	log, err := newLog(f.logLevel)
	if err != nil {
		return err
	}
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	live, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	serving, rootsChanged, err := loadCertificates(ctx, f, live, log.WithName("certs"))
	if err != nil {
		return err
	}
	keys := &certs.Keys{
		Client: live, Secret: types.NamespacedName{Namespace: f.namespace, Name: f.keysSecret}, MaxAge: f.signingKeyAge,
		Clock: clock.RealClock{}, Log: log.WithName("keys"),
	}
	if err := keys.Load(ctx); err != nil {
		return err
	}
	user, err := whoAmI(ctx, live)
	if err != nil {
		return err
	}
	recordings, err := archive.Open(ctx, f.recordingsURL, keys)
	if err != nil {
		return err
	}
	defer recordings.Close()

	mgr, err := ctrl.NewManager(config, managerOptions(f, scheme, serving, log))
	if err != nil {
		return fmt.Errorf("setting up the manager: %w", err)
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	readers, err := logs.New(ctx, logs.Options{
		Archive: recordings, Bind: f.logsBind, Certificate: serving.GetCertificate,
		Kubernetes: api, Client: live, Log: log.WithName("logs"),
	})
	if err != nil {
		return err
	}
	p := &parts{
		flags: f, mgr: mgr, live: live, keys: keys, archive: recordings, serving: serving, log: log,
		registry: presence.NewRegistry(clock.RealClock{}), rootsChanged: rootsChanged,
	}
	p.board = &presence.Board{
		Registry: p.registry, Client: live, Namespace: f.namespace, Replica: f.name, Alone: f.replicas == 1,
		Clock: clock.RealClock{}, Log: log.WithName("presence"),
	}
	p.sets = &broker.Sets{
		Cache: mgr.GetClient(), Live: live, MaxAge: f.policyMaxAge, Clock: clock.RealClock{}, Log: log.WithName("broker"),
	}
	p.broker = broker.New(broker.Options{
		Client: mgr.GetClient(), Live: live, Informers: mgr.GetCache(), Listen: f.brokerBind, Certificate: serving.GetCertificate,
		Guard: broker.LiveGuard(live, keys.DecisionMAC), Sets: p.sets, DecisionKey: keys.DecisionMAC, Archive: recordings,
		Presence: p.registry, Events: mgr.GetEventRecorder("chaperone"), LeaseDuration: f.leaseDuration,
		Clock: clock.RealClock{}, Log: log.WithName("broker"),
	})
	for _, runnable := range []manager.Runnable{serving, keys, p.board, p.broker, readers} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("setting up the manager: %w", err)
		}
	}
	dns, err := ownDNS("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := webhook.Setup(mgr, webhook.Options{
		SidecarImage: f.sidecarImage, SidecarPullPolicy: corev1.PullPolicy(f.sidecarPullPolicy), BrokerAddress: f.brokerAddress,
		SidecarResources: f.sidecarResources(), SpoolLimit: resource.MustParse(f.sidecarSpool),
		RootPEM: serving.Roots, OperatorNamespace: f.namespace,
		OperatorUsername: user, DecisionKey: func() []byte { return keys.DecisionMAC }, DNS: dns,
	}); err != nil {
		return err
	}
	if err := p.reconcilers(); err != nil {
		return err
	}
	if err := p.health(); err != nil {
		return err
	}
	log.Info("Starting", "version", version, "namespace", f.namespace, "recordings", f.recordingsURL)
	return mgr.Start(ctx)
}

// ownDNS is whom the operator's own pod asks for names: pods under a policy may ask nobody else.
func ownDNS(file string) (resolver.Settings, error) {
	f, err := os.Open(file)
	if err != nil {
		return resolver.Settings{}, fmt.Errorf("reading the resolver's settings: %w", err)
	}
	defer f.Close()
	return resolver.Parse(f)
}

// whoAmI is the operator's own user: the only one that writes ApprovalRequests and SessionRecordings.
func whoAmI(ctx context.Context, live client.Client) (string, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := live.Create(ctx, review); err != nil {
		return "", fmt.Errorf("asking the API server who the operator is: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// parts are what reconcilers and health checks are made of.
type parts struct {
	flags    *flags
	mgr      ctrl.Manager
	live     client.Client
	keys     *certs.Keys
	archive  *archive.Archive
	serving  certificates
	registry *presence.Registry
	board    *presence.Board
	// rootsChanged delivers when the bundle of roots has changed.
	rootsChanged <-chan event.GenericEvent
	sets         *broker.Sets
	broker       *broker.Broker
	// scope is set by reconcilers.
	scope *controllers.WebhookScopeReconciler
	log   logr.Logger
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	return scheme, nil
}

func managerOptions(f *flags, scheme *runtime.Scheme, serving certs.Source, log logr.Logger) ctrl.Options {
	named := func(name string) cache.ByObject {
		return cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", name)}
	}
	return ctrl.Options{
		Scheme: scheme,
		Logger: log,
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&admissionv1.MutatingWebhookConfiguration{}:   named(f.webhookConfigurations),
				&admissionv1.ValidatingWebhookConfiguration{}: named(f.webhookConfigurations),
				&apiregistrationv1.APIService{}:               named(f.apiService),
			},
		},
		// Secrets are read one by one, and neither they nor ConfigMaps are ever listed.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Port: f.webhookPort, TLSOpts: []func(*tls.Config){
			func(c *tls.Config) { c.GetCertificate, c.MinVersion = serving.GetCertificate, tls.VersionTLS12 },
		}}),
		Metrics:                       metricsserver.Options{BindAddress: f.metricsBind},
		HealthProbeBindAddress:        f.healthBind,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              leaderLease,
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true, // the program ends as soon as the manager has stopped
	}
}
