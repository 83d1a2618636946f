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

	"github.com/chaperone-dev/chaperone/webhook/inject"
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
	handlers := map[string]admission.Handler{
		PathMutatePods:          &inject.Handler{Lookup: lookup, Options: o.injection, Exempt: o.Exempt, Decoder: decoder},
		PathMutatePodsElsewhere: &inject.Handler{Lookup: lookup, Options: o.injection, Exempt: o.Exempt, Decoder: decoder, Open: true},
	}
	server := mgr.GetWebhookServer()
	for path, handler := range handlers {
		server.Register(path, &admission.Webhook{Handler: handler})
	}
	return nil
}
