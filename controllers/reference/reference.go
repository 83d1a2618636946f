// Package reference reads the Secrets and ConfigMaps that policies point to, one `get` at a time: the operator has
// no permission to list or watch Secrets, so nothing of them is ever cached.
package reference

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/controllers/snapshot"
)

// ErrUnavailable says that the API server could not be asked: the reference may be fine.
var ErrUnavailable = errors.New("could not be read")

// Resolver reads references live. It implements snapshot.Resolver for the length of one conversion.
type Resolver struct {
	Context context.Context //nolint:containedctx // snapshot is pure, so its interface has none
	Reader  client.Reader
}

var _ snapshot.Resolver = Resolver{}

// ConfigMapKey implements snapshot.Resolver.
func (r Resolver) ConfigMapKey(namespace, name, key string) ([]byte, error) {
	cm := &corev1.ConfigMap{}
	if err := r.Reader.Get(r.Context, types.NamespacedName{Namespace: namespace, Name: name}, cm); err != nil {
		return nil, explain("configmap", namespace, name, err)
	}
	if v, ok := cm.Data[key]; ok {
		return []byte(v), nil
	}
	if v, ok := cm.BinaryData[key]; ok {
		return v, nil
	}
	return nil, missingKey("configmap", namespace, name, key, keys(cm.Data), keys(cm.BinaryData))
}

// SecretKey implements snapshot.Resolver.
func (r Resolver) SecretKey(namespace, name, key string) ([]byte, error) {
	secret, err := Secret(r.Context, r.Reader, namespace, name)
	if err != nil {
		return nil, err
	}
	if v, ok := secret.Data[key]; ok {
		return v, nil
	}
	return nil, missingKey("secret", namespace, name, key, keys(secret.Data))
}

// Secret reads a whole Secret.
func Secret(ctx context.Context, reader client.Reader, namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret); err != nil {
		return nil, explain("secret", namespace, name, err)
	}
	return secret, nil
}

func explain(kind, namespace, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s %s/%s does not exist; create it or correct the name", kind, namespace, name)
	}
	return fmt.Errorf("%s %s/%s %w: %w", kind, namespace, name, ErrUnavailable, err)
}

func missingKey(kind, namespace, name, key string, have ...[]string) error {
	var all []string
	for _, h := range have {
		all = append(all, h...)
	}
	sort.Strings(all)
	found := "it is empty"
	if len(all) > 0 {
		found = "it has " + strings.Join(all, ", ")
	}
	return fmt.Errorf("%s %s/%s has no key %s; %s", kind, namespace, name, key, found)
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
