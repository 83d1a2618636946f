package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Annotations by which people ask something of the keys' Secret. The operator takes them off once it is done.
const (
	// AnnotationRotate, with any value, asks for a new signing key.
	AnnotationRotate = "chaperone.dev/rotate-signing-key"
	// AnnotationRevoke names signing keys, separated by commas, that shall count no more.
	AnnotationRevoke = "chaperone.dev/revoke-signing-keys"
)

// readKeysEvery is how often a replica reads the Secret: a tenth of the time for which a key is announced.
const readKeysEvery = time.Minute

// Keys authenticate what the operator wrote: decisions with a MAC, recordings with signatures. They are kept in a
// Secret that the operator makes itself.
type Keys struct {
	// Client reads and writes the Secret; it must not cache.
	Client client.Client
	Secret types.NamespacedName
	// MaxAge is how old a signing key may become before the next one is announced; 0 is for good.
	MaxAge time.Duration
	Clock  clock.WithTicker
	Log    logr.Logger

	// DecisionMAC authenticates decisions on approval requests (HMAC-SHA-256). Load sets it, once.
	DecisionMAC []byte

	checkMu sync.Mutex // one reads the Secret at a time
	mu      sync.RWMutex
	ring    *ring     // guarded by mu
	asked   time.Time // guarded by mu: when the reading began that ring is from
}

// Load reads the Secret and makes it once if there is none. A Secret that is there and lacks a key is an error: a key
// made anew would silently void what the old one authenticated.
func (k *Keys) Load(ctx context.Context) error { return k.check(ctx) }

// Start follows the Secret, and rotates the signing key when it is time or somebody asks for it, until ctx ends.
func (k *Keys) Start(ctx context.Context) error {
	tick := k.Clock.NewTicker(readKeysEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
			if err := k.check(ctx); err != nil {
				k.Log.Error(err, "Going on with the keys that are known")
			}
		}
	}
}

// NeedLeaderElection says that every replica signs.
func (k *Keys) NeedLeaderElection() bool { return false }

// Sign implements archive.Keyring.
func (k *Keys) Sign(h record.Head) record.Head {
	k.mu.RLock()
	defer k.mu.RUnlock()
	now := k.Clock.Now()
	return record.SignHead(k.ring.signer(now), h, now)
}

// Trusted implements archive.Keyring. The Secret is read again where the key is not known.
func (k *Keys) Trusted(ctx context.Context, id string) []record.Key {
	came := k.Clock.Now()
	if keys, _ := k.known(); slices.ContainsFunc(keys, func(key record.Key) bool { return key.ID == id }) {
		return keys
	}
	k.checkMu.Lock()
	_, asked := k.known()
	var err error
	if !asked.After(came) { // else somebody has read it while this one waited
		err = k.read(ctx)
	}
	k.checkMu.Unlock()
	if err != nil {
		k.Log.Error(err, "A signature's key is not known, and the set of keys could not be read again", "key", id)
	}
	keys, _ := k.known()
	return keys
}

func (k *Keys) known() ([]record.Key, time.Time) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.ring.keys, k.asked
}

func (k *Keys) check(ctx context.Context) error {
	k.checkMu.Lock()
	defer k.checkMu.Unlock()
	return k.read(ctx)
}

// read brings Secret and memory to what they should be now. Two replicas that write at once meet in AlreadyExists or
// Conflict; the one that loses reads what the other wrote. The caller holds checkMu.
func (k *Keys) read(ctx context.Context) error {
	for range 5 {
		asked := k.Clock.Now()
		secret := &corev1.Secret{}
		err := k.Client.Get(ctx, k.Secret, secret)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return fmt.Errorf("reading secret %s: %w", k.Secret, err)
		}
		if missing && k.DecisionMAC != nil {
			return fmt.Errorf("secret %s is gone: restore it; replicas go on with the keys that they hold, and new ones make others", k.Secret)
		}
		if missing {
			secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.Secret.Namespace, Name: k.Secret.Name}, Type: corev1.SecretTypeOpaque}
			if secret.Data, err = newKeys(); err != nil {
				return err
			}
		}
		mac := secret.Data[keyDecisionMAC]
		if len(mac) < 32 {
			return fmt.Errorf("secret %s: %s has %d bytes, needs at least 32; restore it, or delete the secret to void all decisions made so far", k.Secret, keyDecisionMAC, len(mac))
		}
		done, err := turn(secret.Data, k.wishes(secret), asked)
		if err != nil {
			return fmt.Errorf("secret %s: %w", k.Secret, err)
		}
		switch _, rotate := secret.Annotations[AnnotationRotate]; {
		case missing:
			secret.Data = done.data
			err = k.Client.Create(ctx, secret)
		case done.changed || rotate || secret.Annotations[AnnotationRevoke] != "":
			secret.Data = done.data
			delete(secret.Annotations, AnnotationRotate)
			delete(secret.Annotations, AnnotationRevoke)
			err = k.Client.Update(ctx, secret)
		}
		if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("writing secret %s: %w", k.Secret, err)
		}
		for _, note := range done.notes {
			k.Log.Info(note, "secret", k.Secret)
		}
		if k.DecisionMAC == nil {
			k.DecisionMAC = mac
		}
		k.mu.Lock()
		k.ring, k.asked = done.ring, asked
		k.mu.Unlock()
		return nil
	}
	return errors.New("writing secret " + k.Secret.String() + ": other replicas keep changing it")
}

func (k *Keys) wishes(secret *corev1.Secret) wishes {
	w := wishes{made: secret.CreationTimestamp.Time, maxAge: k.MaxAge}
	_, w.rotate = secret.Annotations[AnnotationRotate]
	for _, id := range strings.Split(secret.Annotations[AnnotationRevoke], ",") {
		if id = strings.TrimSpace(id); id != "" {
			w.revoke = append(w.revoke, id)
		}
	}
	return w
}
