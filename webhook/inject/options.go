package inject

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Version of the injection, the value of layout.InjectedAnnotation and layout.InjectedLabel.
const Version = "v1"

// SealWindow is how long after its seal a pod at admission is taken for one that this webhook has just seen and is
// shown again (reinvocationPolicy IfNeeded), and not for a copy. The API server gives a whole request one minute,
// and each of its webhooks at most half of that.
const SealWindow = 30 * time.Second

// Options are what the operator knows and the pod does not say.
type Options struct {
	// Image of the sidecar, which is the redirect's as well. Required.
	Image string
	// PullPolicy of the image. Default: IfNotPresent.
	PullPolicy corev1.PullPolicy
	// Resources are both requests and limits of each of our containers. Default: 200m CPU, 128Mi memory.
	Resources corev1.ResourceList
	// SpoolLimit bounds the volume for recordings not yet acknowledged. Default: 256Mi.
	SpoolLimit resource.Quantity
	// Broker is host:port of the operator's broker service. Required.
	Broker string
	// RootPEM is the root of the broker's serving certificate. Required.
	RootPEM []byte
	// Key makes the seal. Required.
	Key []byte
	// Now is the time of the seal.
	Now time.Time
	// UID draws a number below n, from crypto/rand unless a test says otherwise.
	UID func(n int64) (int64, error)
}

func (o Options) check() error {
	switch {
	case o.Image == "":
		return errors.New("injecting: the operator knows no sidecar image")
	case o.Broker == "":
		return errors.New("injecting: the operator knows no broker address")
	case len(o.RootPEM) == 0:
		return errors.New("injecting: the operator has no root certificate yet")
	case len(o.Key) == 0:
		return errors.New("injecting: the operator has no key yet")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.PullPolicy == "" {
		o.PullPolicy = corev1.PullIfNotPresent
	}
	if len(o.Resources) == 0 {
		o.Resources = corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("200m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		}
	}
	if o.SpoolLimit.IsZero() {
		o.SpoolLimit = resource.MustParse("256Mi")
	}
	if o.UID == nil {
		o.UID = random
	}
	return o
}

// Refusal is a pod that cannot be protected as it is written; the message is for its author.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return r.Message }
