package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/notification"
)

// flags are the operator's settings.
type flags struct {
	namespace, name                               string
	replicas                                      int
	recordingsURL                                 string
	retentionFloor                                time.Duration
	sidecarImage, sidecarPullPolicy               string
	sidecarCPU, sidecarMemory, sidecarSpool       string
	webhookService, brokerService, logsService    string
	brokerAddress                                 string
	webhookConfigurations, apiService             string
	certificateDir, rootSecret, keysSecret        string
	signingKeyAge                                 time.Duration
	policyMaxAge, leaseDuration, requestRetention time.Duration
	notificationsURL, notificationsSecret         string
	notificationsSource                           string
	leaderElect                                   bool
	webhookPort                                   int
	brokerBind, logsBind, healthBind, metricsBind string
	logLevel                                      string
}

func (f *flags) bind(s *pflag.FlagSet) {
	s.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the operator's own namespace, never selected by a policy (default $POD_NAMESPACE)")
	s.StringVar(&f.name, "name", os.Getenv("POD_NAME"), "this replica's name, unique among them (default $POD_NAME)")
	s.IntVar(&f.replicas, "replicas", 1, "how many replicas are meant to run; more than one needs an s3:// recordings URL")
	s.StringVar(&f.recordingsURL, "recordings-url", "file:///var/lib/chaperone/recordings", "where recordings are kept: file:///path or s3://bucket?region=...&prefix=...")
	s.DurationVar(&f.retentionFloor, "retention-floor", 24*time.Hour, "no recording is deleted sooner after its end, whatever its policy says")
	s.StringVar(&f.sidecarImage, "sidecar-image", os.Getenv("CHAPERONE_SIDECAR_IMAGE"), "image of the sidecar (default $CHAPERONE_SIDECAR_IMAGE)")
	s.StringVar(&f.sidecarPullPolicy, "sidecar-image-pull-policy", "IfNotPresent", "pull policy of the sidecar's image: Always, IfNotPresent or Never")
	s.StringVar(&f.sidecarCPU, "sidecar-cpu", "200m", "request and limit of processors of each of the two containers in an agent's pod")
	s.StringVar(&f.sidecarMemory, "sidecar-memory", "128Mi", "request and limit of memory of each of them")
	s.StringVar(&f.sidecarSpool, "sidecar-spool", "256Mi", "size of the volume for recordings that are not acknowledged yet")
	s.StringVar(&f.webhookService, "webhook-service", "chaperone-webhook", "Service of the admission webhooks")
	s.StringVar(&f.brokerService, "broker-service", "chaperone-broker", "Service of the broker that sidecars attach to")
	s.StringVar(&f.logsService, "logs-service", "chaperone-logs", "Service of the recordings API")
	s.StringVar(&f.brokerAddress, "broker-address", "", "host:port at which sidecars reach the broker (default <broker-service>.<namespace>.svc:443)")
	s.StringVar(&f.webhookConfigurations, "webhook-configurations", "chaperone", "name of the webhook configurations whose scope and bundle are kept up")
	s.StringVar(&f.apiService, "apiservice", "v1alpha1.logs.chaperone.dev", "APIService whose bundle is kept up; empty for none")
	s.StringVar(&f.certificateDir, "certificate-dir", "", "folder with tls.crt, tls.key and ca.crt, as cert-manager's Secrets mount; empty: the operator makes its own")
	s.StringVar(&f.rootSecret, "root-secret", "chaperone-root", "Secret of the operator's own root certificate, made once")
	s.StringVar(&f.keysSecret, "keys-secret", "chaperone-keys", "Secret of the keys that authenticate decisions and recordings, made once")
	s.DurationVar(&f.signingKeyAge, "signing-key-max-age", 90*24*time.Hour, "how old the key that signs recordings may become before the next one takes over; old ones still verify; 0: only when the Secret's annotation asks for it")
	s.DurationVar(&f.policyMaxAge, "policy-max-age", 24*time.Hour, "how long a sidecar may use its last policies without the operator")
	s.DurationVar(&f.leaseDuration, "lease-duration", 5*time.Minute, "how long a leased credential may be used without asking again")
	s.DurationVar(&f.requestRetention, "request-retention", 24*time.Hour, "decided, expired and used approval requests are deleted after this")
	s.StringVar(&f.notificationsURL, "notifications-url", "", "sink that is told about approval requests, as CloudEvents over HTTP; empty for none")
	s.StringVar(&f.notificationsSecret, "notifications-secret", "", "Secret of the operator's namespace whose values are the keys (whsec_...) that sign notifications")
	s.StringVar(&f.notificationsSource, "notifications-source", "chaperone", "source of the CloudEvents: which cluster this is")
	s.BoolVar(&f.leaderElect, "leader-elect", true, "let one replica alone run the controllers")
	s.IntVar(&f.webhookPort, "webhook-port", 9443, "port of the admission webhooks")
	s.StringVar(&f.brokerBind, "broker-bind", ":8443", "address of the broker")
	s.StringVar(&f.logsBind, "logs-bind", ":6443", "address of the recordings API")
	s.StringVar(&f.healthBind, "health-bind", ":8081", "address of /healthz and /readyz")
	s.StringVar(&f.metricsBind, "metrics-bind", ":8080", "address of /metrics; 0 for none")
	s.StringVar(&f.logLevel, "log-level", "info", "debug, info or error")
}

const (
	// Below a twentieth of a processor a TLS handshake takes longer than clients wait.
	leastSidecarCPU = "50m"
	// An idle sidecar takes some 6 MiB; buffers and a large policy's rules take their share under load.
	leastSidecarMemory = "32Mi"
	// Chunks have 1 MiB at most, and a few of each log in use are in the spool at a time.
	leastSpool = "16Mi"
	// A key is announced for ten minutes before it signs and stays in the set for good.
	leastSigningKeyAge = time.Hour
)

// sidecarResources are the requests and limits of our containers. check has parsed them before.
func (f *flags) sidecarResources() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(f.sidecarCPU),
		corev1.ResourceMemory: resource.MustParse(f.sidecarMemory),
	}
}

// check names the flag that is wrong and the way out.
func (f *flags) check() error {
	for name, value := range map[string]string{"namespace": f.namespace, "name": f.name, "sidecar-image": f.sidecarImage} {
		if value == "" {
			return fmt.Errorf("--%s is required; the chart sets it", name)
		}
	}
	if f.replicas < 1 {
		return errors.New("--replicas: at least one")
	}
	if f.replicas > 1 && !archive.Shared(f.recordingsURL) {
		return fmt.Errorf("--replicas=%d with --recordings-url=%s: every replica writes recordings, and only an s3:// bucket is there for all of them", f.replicas, f.recordingsURL)
	}
	switch f.sidecarPullPolicy {
	case "Always", "IfNotPresent", "Never":
	default:
		return fmt.Errorf("--sidecar-image-pull-policy=%s: Always, IfNotPresent or Never", f.sidecarPullPolicy)
	}
	for name, value := range map[string]time.Duration{
		"policy-max-age": f.policyMaxAge, "lease-duration": f.leaseDuration, "request-retention": f.requestRetention,
	} {
		if value <= 0 {
			return fmt.Errorf("--%s=%s: must be positive", name, value)
		}
	}
	if f.signingKeyAge != 0 && f.signingKeyAge < leastSigningKeyAge {
		return fmt.Errorf("--signing-key-max-age=%s: at least %s, or 0 for no rotation by age", f.signingKeyAge, leastSigningKeyAge)
	}
	if f.retentionFloor < 0 {
		return fmt.Errorf("--retention-floor=%s: must not be negative", f.retentionFloor)
	}
	for name, c := range map[string]struct{ value, least string }{
		"sidecar-cpu": {f.sidecarCPU, leastSidecarCPU}, "sidecar-memory": {f.sidecarMemory, leastSidecarMemory}, "sidecar-spool": {f.sidecarSpool, leastSpool},
	} {
		quantity, err := resource.ParseQuantity(c.value)
		if err != nil {
			return fmt.Errorf("--%s=%s: a Kubernetes quantity, such as %s", name, c.value, c.least)
		}
		if quantity.Cmp(resource.MustParse(c.least)) < 0 {
			return fmt.Errorf("--%s=%s: at least %s", name, c.value, c.least)
		}
	}
	if f.notificationsURL != "" {
		if err := notification.CheckURL(f.notificationsURL); err != nil {
			return fmt.Errorf("--notifications-url: %w", err)
		}
		if f.notificationsSecret == "" {
			return errors.New("--notifications-secret is required with --notifications-url: notifications are signed")
		}
	}
	if f.brokerAddress == "" {
		f.brokerAddress = f.brokerService + "." + f.namespace + ".svc:443"
	}
	return nil
}
