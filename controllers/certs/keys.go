package certs

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys authenticate what the operator wrote.
type Keys struct {
	// DecisionMAC authenticates decisions on approval requests (HMAC-SHA-256).
	DecisionMAC []byte
	// Signing signs the heads of recordings.
	Signing ed25519.PrivateKey
}

const (
	keyDecisionMAC = "decision-mac"
	keySigning     = "recording-signing" // an Ed25519 seed, RFC 8032
)

// LoadKeys reads the keys' Secret and makes it once if there is none. A Secret that is there and lacks a key is an
// error: a key made anew would silently void what the old one authenticated.
func LoadKeys(ctx context.Context, c client.Client, name types.NamespacedName) (*Keys, error) {
	secret := &corev1.Secret{}
	err := c.Get(ctx, name, secret)
	if apierrors.IsNotFound(err) {
		if secret, err = newKeys(name); err != nil {
			return nil, err
		}
		if err = c.Create(ctx, secret); apierrors.IsAlreadyExists(err) {
			// Another replica was faster; its keys count.
			secret = &corev1.Secret{}
			err = c.Get(ctx, name, secret)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, err)
	}
	mac, seed := secret.Data[keyDecisionMAC], secret.Data[keySigning]
	if len(mac) < 32 {
		return nil, fmt.Errorf("secret %s: %s has %d bytes, needs at least 32; restore it, or delete the secret to void all decisions made so far", name, keyDecisionMAC, len(mac))
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("secret %s: %s has %d bytes, needs %d; restore it, or delete the secret to sign with new keys", name, keySigning, len(seed), ed25519.SeedSize)
	}
	return &Keys{DecisionMAC: mac, Signing: ed25519.NewKeyFromSeed(seed)}, nil
}

func newKeys(name types.NamespacedName) (*corev1.Secret, error) {
	mac, seed := make([]byte, 32), make([]byte, ed25519.SeedSize)
	for _, b := range [][]byte{mac, seed} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{keyDecisionMAC: mac, keySigning: seed},
	}, nil
}
