// Package apply writes the status of our own resources by server-side apply.
package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// RecordingOwner owns the status of SessionRecordings, whether the broker writes it or the controller that closes
// what a sidecar left open: so the one's fields go when the other knows better.
const RecordingOwner = client.FieldOwner("chaperone-recordings")

// NotificationOwner owns the condition of ApprovalRequests that says what the sink was told.
const NotificationOwner = client.FieldOwner("chaperone-notifications")

// PolicyOwner owns the status of AgentPolicies.
const PolicyOwner = client.FieldOwner("chaperone-policies")

// Status applies the status that obj carries, and nothing else of it, as owner. With a uid in obj the write is
// refused if the object has been made again since. Fields that owner applied before and that are absent now go.
func Status(ctx context.Context, c client.Client, obj client.Object, owner client.FieldOwner) error {
	gvk, err := apiutil.GVKForObject(obj, c.Scheme())
	if err != nil {
		return fmt.Errorf("applying a status: %w", err)
	}
	all, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("encoding the status of %s %s/%s: %w", gvk.Kind, obj.GetNamespace(), obj.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": all["status"]}}
	u.SetGroupVersionKind(gvk)
	u.SetNamespace(obj.GetNamespace())
	u.SetName(obj.GetName())
	u.SetUID(obj.GetUID())
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), owner, client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the status of %s %s/%s: %w", gvk.Kind, obj.GetNamespace(), obj.GetName(), err)
	}
	return nil
}
