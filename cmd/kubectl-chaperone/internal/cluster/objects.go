package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Approvals returns the approval requests of a namespace, of all where it is empty.
func (c *Cluster) Approvals(ctx context.Context, namespace string) (*v1alpha1.ApprovalRequestList, error) {
	all := &v1alpha1.ApprovalRequestList{}
	err := c.pages(ctx, approvals, namespace, func() (runtime.Object, func() metav1.ListMeta) {
		part := &v1alpha1.ApprovalRequestList{}
		return part, func() metav1.ListMeta {
			all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
			return part.ListMeta
		}
	})
	return all, explain(err, approvalKind, namespace, "")
}

// Recordings returns the recordings of a namespace, of all where it is empty.
func (c *Cluster) Recordings(ctx context.Context, namespace string) (*v1alpha1.SessionRecordingList, error) {
	all := &v1alpha1.SessionRecordingList{}
	err := c.pages(ctx, recordings, namespace, func() (runtime.Object, func() metav1.ListMeta) {
		part := &v1alpha1.SessionRecordingList{}
		return part, func() metav1.ListMeta {
			all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
			return part.ListMeta
		}
	})
	return all, explain(err, recordingKind, namespace, "")
}

// Policies returns the policies of a namespace, of all where it is empty.
func (c *Cluster) Policies(ctx context.Context, namespace string) (*v1alpha1.AgentPolicyList, error) {
	all := &v1alpha1.AgentPolicyList{}
	err := c.pages(ctx, policies, namespace, func() (runtime.Object, func() metav1.ListMeta) {
		part := &v1alpha1.AgentPolicyList{}
		return part, func() metav1.ListMeta {
			all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
			return part.ListMeta
		}
	})
	return all, explain(err, policyKind, namespace, "")
}

// pages lists page by page. part returns an empty list to read into, and what adds it to the rest.
func (c *Cluster) pages(ctx context.Context, resource, namespace string, part func() (runtime.Object, func() metav1.ListMeta)) error {
	for next := ""; ; {
		r := c.client.Get().Resource(resource).Param("limit", fmt.Sprint(page))
		if next != "" {
			r = r.Param("continue", next)
		}
		if namespace != "" {
			r = r.Namespace(namespace)
		}
		into, add := part()
		if err := r.Do(ctx).Into(into); err != nil {
			return err
		}
		if next = add().Continue; next == "" {
			return nil
		}
	}
}

// WatchApprovals tells what happens to approval requests after a list of that version. The caller stops it.
func (c *Cluster) WatchApprovals(ctx context.Context, namespace, version string) (watch.Interface, error) {
	r := c.client.Get().Resource(approvals).Param("watch", "true").Param("resourceVersion", version)
	if namespace != "" {
		r = r.Namespace(namespace)
	}
	w, err := r.Watch(ctx)
	return w, explain(err, approvalKind, namespace, "")
}

// Approval returns one approval request.
func (c *Cluster) Approval(ctx context.Context, name string) (*v1alpha1.ApprovalRequest, error) {
	request := &v1alpha1.ApprovalRequest{}
	err := c.client.Get().Namespace(c.Namespace).Resource(approvals).Name(name).Do(ctx).Into(request)
	return request, explain(err, approvalKind, c.Namespace, name)
}

// Recording returns one recording's object.
func (c *Cluster) Recording(ctx context.Context, name string) (*v1alpha1.SessionRecording, error) {
	recording := &v1alpha1.SessionRecording{}
	err := c.client.Get().Namespace(c.Namespace).Resource(recordings).Name(name).Do(ctx).Into(recording)
	return recording, explain(err, recordingKind, c.Namespace, name)
}

// Decide writes a decision; who decides is stamped by the API server. It returns the request as it then is.
func (c *Cluster) Decide(ctx context.Context, name string, decision v1alpha1.Decision) (*v1alpha1.ApprovalRequest, error) {
	patch, err := DecisionPatch(decision)
	if err != nil {
		return nil, err
	}
	request := &v1alpha1.ApprovalRequest{}
	err = c.client.Patch(types.MergePatchType).Namespace(c.Namespace).Resource(approvals).Name(name).
		Body(patch).Do(ctx).Into(request)
	return request, explain(err, approvalKind, c.Namespace, name)
}

// DecisionPatch is the merge patch that decides, as one would give it to kubectl patch.
func DecisionPatch(decision v1alpha1.Decision) ([]byte, error) {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"decision": decision}})
	if err != nil {
		return nil, fmt.Errorf("encoding the decision: %w", err)
	}
	return patch, nil
}

// SigningKeys returns the keys that the operator publishes.
func (c *Cluster) SigningKeys(ctx context.Context) ([]record.Key, error) {
	text, err := c.client.Get().AbsPath(logsPath, "signingkeys").DoRaw(ctx)
	if err != nil {
		return nil, explain(err, keysKind, "", "")
	}
	return record.ParseKeys(text)
}

// Log opens a recording's log, in the format that can be verified. The caller closes it.
func (c *Cluster) Log(ctx context.Context, namespace, name string) (io.ReadCloser, error) {
	log, err := c.client.Get().AbsPath(logsPath, "namespaces", namespace, recordings, name, "log").
		Param("format", string(record.Archive)).Stream(ctx)
	return log, explain(err, logKind, namespace, name)
}
