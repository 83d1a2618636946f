package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// checkEvery is how often the Secret is read again and ages are looked at. Another replica's rotation is seen within
// it; rotations are planned years and days ahead.
const checkEvery = 10 * time.Minute

// ErrNotReady says that no certificate has been made yet.
var ErrNotReady = errors.New("the serving certificate is not ready")

// +kubebuilder:rbac:groups="",resources=secrets,namespace=chaperone-system,verbs=get;create;update

// Authority is a Source whose root is a Secret that the operator makes itself.
type Authority struct {
	// Client reads and writes the Secret; it must not cache.
	Client client.Client
	// Secret is where the root is kept.
	Secret types.NamespacedName
	// Names are the DNS names of serving certificates.
	Names []string
	Clock clock.WithTicker
	Log   logr.Logger
	// Changed is called after the bundle has changed; nil is allowed.
	Changed func()

	mu    sync.RWMutex // guards what follows: read by every handshake, written by check
	root  *pair
	roots []byte
	leaf  *tls.Certificate
	made  time.Time
}

var _ Source = (*Authority)(nil)

// GetCertificate implements Source.
func (a *Authority) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.leaf == nil {
		return nil, ErrNotReady
	}
	return a.leaf, nil
}

// Roots implements Source.
func (a *Authority) Roots() []byte {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.roots
}

// Load reads the root, makes it if there is none, and makes the first leaf.
func (a *Authority) Load(ctx context.Context) error { return a.check(ctx) }

// Start keeps root and leaf fresh until ctx ends.
func (a *Authority) Start(ctx context.Context) error {
	tick := a.Clock.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
			if err := a.check(ctx); err != nil {
				a.Log.Error(err, "keeping the serving certificate")
			}
		}
	}
}

// NeedLeaderElection says that every replica serves.
func (a *Authority) NeedLeaderElection() bool { return false }

func (a *Authority) check(ctx context.Context) error {
	data, err := a.stored(ctx)
	if err != nil {
		// The root in memory still signs: a missing or unreadable Secret must not end serving.
		return errors.Join(err, a.renew())
	}
	root, err := parsePair(data[keyCertificate], data[keyPrivate])
	if err != nil {
		return errors.Join(fmt.Errorf("secret %s: %w", a.Secret, err), a.renew())
	}
	a.mu.Lock()
	changed := string(a.roots) != string(data[keyBundle])
	if a.root == nil || !a.root.cert.Equal(root.cert) {
		a.leaf = nil
	}
	a.root, a.roots = root, data[keyBundle]
	a.mu.Unlock()
	if err := a.renew(); err != nil {
		return err
	}
	if changed && a.Changed != nil {
		a.Changed()
	}
	return nil
}

// stored returns the Secret's data, rotated. Two replicas that write at once meet in AlreadyExists or Conflict; the
// one that loses reads what the other wrote.
func (a *Authority) stored(ctx context.Context) (map[string][]byte, error) {
	for range 5 {
		secret := &corev1.Secret{}
		err := a.Client.Get(ctx, a.Secret, secret)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return nil, fmt.Errorf("reading secret %s: %w", a.Secret, err)
		}
		data, changed, err := rotate(secret.Data, a.Clock.Now())
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", a.Secret, err)
		}
		if !changed {
			return data, nil
		}
		if missing {
			secret = &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: a.Secret.Namespace, Name: a.Secret.Name},
				Type:       corev1.SecretTypeTLS,
			}
		}
		secret.Data = data
		if missing {
			err = a.Client.Create(ctx, secret)
		} else {
			err = a.Client.Update(ctx, secret)
		}
		switch {
		case err == nil:
			return data, nil
		case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
		default:
			return nil, fmt.Errorf("writing secret %s: %w", a.Secret, err)
		}
	}
	return nil, fmt.Errorf("writing secret %s: other replicas keep changing it", a.Secret)
}

func (a *Authority) renew() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Clock.Now()
	if a.root == nil || a.leaf != nil && now.Before(a.made.Add(leafRenewal)) {
		return nil
	}
	leaf, err := newLeaf(a.root, a.Names, now)
	if err != nil {
		return err
	}
	a.leaf, a.made = leaf, now
	a.Log.Info("made a serving certificate", "notAfter", leaf.Leaf.NotAfter, "root", a.root.cert.Subject.CommonName)
	return nil
}
