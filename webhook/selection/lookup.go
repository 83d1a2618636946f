package selection

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Lookup reads the policies of a namespace.
type Lookup struct {
	// Cache answers most reads; it may lag behind what was applied a moment ago.
	Cache client.Reader
	// Live asks the API server, so that a policy and its pods may be applied in one file.
	Live client.Reader
}

// Fresh returns the namespace's policies as the API server has them now.
func (l Lookup) Fresh(ctx context.Context, namespace string) ([]v1alpha1.AgentPolicy, error) {
	return list(ctx, l.Live, namespace)
}

// Cached returns the namespace's policies as the cache has them.
func (l Lookup) Cached(ctx context.Context, namespace string) ([]v1alpha1.AgentPolicy, error) {
	return list(ctx, l.Cache, namespace)
}

// Known returns the namespace's policies from the cache, or live where the cache holds none.
func (l Lookup) Known(ctx context.Context, namespace string) ([]v1alpha1.AgentPolicy, error) {
	policies, err := list(ctx, l.Cache, namespace)
	if err == nil && len(policies) > 0 {
		return policies, nil
	}
	return l.Fresh(ctx, namespace)
}

// Selecting returns the policies that select these labels: from the cache where it knows of one, else live. A
// policy that the cache does not have yet reaches the pod's sidecar over its stream; what must not happen is that
// none is seen.
func (l Lookup) Selecting(ctx context.Context, namespace string, set map[string]string) ([]v1alpha1.AgentPolicy, error) {
	if policies, err := list(ctx, l.Cache, namespace); err == nil {
		if selected := Select(policies, set); len(selected) > 0 {
			return selected, nil
		}
	}
	policies, err := l.Fresh(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return Select(policies, set), nil
}

func list(ctx context.Context, reader client.Reader, namespace string) ([]v1alpha1.AgentPolicy, error) {
	var policies v1alpha1.AgentPolicyList
	if err := reader.List(ctx, &policies, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing the agent policies of namespace %s: %w", namespace, err)
	}
	return policies.Items, nil
}
