// Package webhook registers the operator's admission webhooks: injection and guard of pods, stamping and authority
// of approvals, validation of policies and of recordings.
package webhook

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/webhook/access"
	"github.com/chaperone-dev/chaperone/webhook/decision"
	"github.com/chaperone-dev/chaperone/webhook/guard"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/policy"
	"github.com/chaperone-dev/chaperone/webhook/recording"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// Paths under which the webhooks are served. The markers beside the handlers name the same.
const (
	PathMutatePods            = "/mutate-pods"
	PathMutatePodsElsewhere   = "/mutate-pods-elsewhere"
	PathValidatePods          = "/validate-pods"
	PathValidatePodsElsewhere = "/validate-pods-elsewhere"
	PathMutateApprovals       = "/mutate-approvalrequests"
	PathValidateApprovals     = "/validate-approvalrequests"
	PathValidatePolicies      = "/validate-agentpolicies"
	PathValidateRecordings    = "/validate-sessionrecordings"
)

// Options are what the webhooks know of the operator that they run in.
type Options struct {
	// SidecarImage is injected. Required.
	SidecarImage string
	// SidecarPullPolicy defaults to IfNotPresent.
	SidecarPullPolicy corev1.PullPolicy
	// SidecarResources are requests and limits of each of our containers. Default: 200m CPU, 128Mi memory.
	SidecarResources corev1.ResourceList
	// SpoolLimit bounds the volume for recordings not yet acknowledged. Default: 256Mi.
	SpoolLimit resource.Quantity
	// BrokerAddress is host:port at which sidecars reach the broker. Required.
	BrokerAddress string
	// RootPEM returns the root (PEM, an old and a new one while it is exchanged) that sidecars verify the broker
	// with. Until it returns one, selected pods are refused.
	RootPEM func() []byte
	// OperatorNamespace is never selected, as kube-system is not: what protects pods must be able to start.
	OperatorNamespace string
	// OperatorUsername is the operator's own user, system:serviceaccount:<namespace>:<name>. Required: only it
	// writes ApprovalRequests and SessionRecordings.
	OperatorUsername string
	// DecisionKey returns the key of the MACs on decisions and of the seals on pods. Every replica has the same.
	// Until it returns one, no decision is taken and selected pods are refused.
	DecisionKey func() []byte
	// DNS is the resolver settings of the operator's own pod: what a pod's dnsConfig may name. Default: nothing.
	DNS resolver.Settings
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

func (o Options) check() error {
	switch {
	case o.SidecarImage == "":
		return errors.New("setting up the webhooks: no sidecar image")
	case o.BrokerAddress == "":
		return errors.New("setting up the webhooks: no broker address")
	case o.OperatorNamespace == "":
		return errors.New("setting up the webhooks: no operator namespace")
	case o.OperatorUsername == "":
		return errors.New("setting up the webhooks: no operator username")
	case o.RootPEM == nil || o.DecisionKey == nil:
		return errors.New("setting up the webhooks: no source of the root certificate or of the decision key")
	}
	return nil
}

// Exempt reports whether pods of the namespace are never selected.
func (o Options) Exempt(namespace string) bool {
	return namespace == "kube-system" || namespace == o.OperatorNamespace
}

func (o Options) injection() inject.Options {
	return inject.Options{
		Image:      o.SidecarImage,
		PullPolicy: o.SidecarPullPolicy,
		Resources:  o.SidecarResources,
		SpoolLimit: o.SpoolLimit,
		Broker:     o.BrokerAddress,
		RootPEM:    o.RootPEM(),
		Key:        o.DecisionKey(),
		Now:        o.Now(),
	}
}

// +kubebuilder:rbac:groups=chaperone.dev,resources=agentpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods;secrets,verbs=get

// Setup registers every webhook with the manager's webhook server. The manager's scheme must know the core,
// authorization.k8s.io and chaperone.dev types.
func Setup(mgr manager.Manager, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	decoder := admission.NewDecoder(mgr.GetScheme())
	lookup := selection.Lookup{Cache: mgr.GetCache(), Live: mgr.GetAPIReader()}
	reviewer := access.Reviewer{Client: mgr.GetClient()}
	injector := inject.Handler{Lookup: lookup, Options: o.injection, Exempt: o.Exempt, Decoder: decoder}
	guardian := guard.Handler{Lookup: lookup, Live: mgr.GetAPIReader(), Key: o.DecisionKey, Exempt: o.Exempt, DNS: o.DNS, Decoder: decoder}
	elsewhereInjector, elsewhereGuardian := injector, guardian
	elsewhereInjector.Open, elsewhereGuardian.Open = true, true
	handlers := map[string]admission.Handler{
		PathMutatePods:            &injector,
		PathMutatePodsElsewhere:   &elsewhereInjector,
		PathValidatePods:          &guardian,
		PathValidatePodsElsewhere: &elsewhereGuardian,
		PathMutateApprovals:       &decision.Stamper{Key: o.DecisionKey, Now: o.Now, Decoder: decoder},
		PathValidateApprovals: &decision.Authority{
			Operator: o.OperatorUsername, Key: o.DecisionKey, Now: o.Now, Access: reviewer, Decoder: decoder,
		},
		PathValidatePolicies:   &policy.Handler{Access: reviewer, Exempt: o.Exempt, Decoder: decoder},
		PathValidateRecordings: &recording.Handler{Operator: o.OperatorUsername, Access: reviewer, Decoder: decoder},
	}
	server := mgr.GetWebhookServer()
	for path, handler := range handlers {
		server.Register(path, &admission.Webhook{Handler: handler})
	}
	return nil
}
