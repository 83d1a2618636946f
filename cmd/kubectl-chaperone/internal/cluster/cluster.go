// Package cluster is the plugin's way to the API server: the objects of Chaperone and the logs behind them, read and
// written as the user of the kubeconfig.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	approvals  = "approvalrequests"
	recordings = "sessionrecordings"

	// logsPath is the recordings API, an aggregated API that the operator serves.
	logsPath = "/apis/logs.chaperone.dev/v1alpha1"

	// page is how many objects are asked for at once.
	page = 500
)

// Cluster is one API server, seen by one user.
type Cluster struct {
	client rest.Interface
	// Namespace is the one of the command line, else of the kubeconfig's context.
	Namespace string
}

// Connect reads the kubeconfig as the flags say; it does not speak to the API server yet.
func Connect(flags *genericclioptions.ConfigFlags) (*Cluster, error) {
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the API's types: %w", err)
	}
	version := v1alpha1.GroupVersion
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &version
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to the API server: %w", err)
	}
	return &Cluster{client: client, Namespace: namespace}, nil
}

// Approvals returns the approval requests of a namespace, of all where it is empty.
func (c *Cluster) Approvals(ctx context.Context, namespace string) (*v1alpha1.ApprovalRequestList, error) {
	all := &v1alpha1.ApprovalRequestList{}
	for options := (metav1.ListOptions{Limit: page}); ; options.Continue = all.Continue {
		part := &v1alpha1.ApprovalRequestList{}
		if err := c.list(ctx, approvals, namespace, options, part); err != nil {
			return nil, err
		}
		all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
		if part.Continue == "" {
			return all, nil
		}
	}
}

// Recordings returns the recordings of a namespace, of all where it is empty.
func (c *Cluster) Recordings(ctx context.Context, namespace string) (*v1alpha1.SessionRecordingList, error) {
	all := &v1alpha1.SessionRecordingList{}
	for options := (metav1.ListOptions{Limit: page}); ; options.Continue = all.Continue {
		part := &v1alpha1.SessionRecordingList{}
		if err := c.list(ctx, recordings, namespace, options, part); err != nil {
			return nil, err
		}
		all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
		if part.Continue == "" {
			return all, nil
		}
	}
}

func (c *Cluster) list(ctx context.Context, resource, namespace string, options metav1.ListOptions, into runtime.Object) error {
	r := c.client.Get().Resource(resource).Param("limit", fmt.Sprint(options.Limit))
	if options.Continue != "" {
		r = r.Param("continue", options.Continue)
	}
	if namespace != "" {
		r = r.Namespace(namespace)
	}
	return r.Do(ctx).Into(into)
}

// Approval returns one approval request.
func (c *Cluster) Approval(ctx context.Context, name string) (*v1alpha1.ApprovalRequest, error) {
	request := &v1alpha1.ApprovalRequest{}
	err := c.client.Get().Namespace(c.Namespace).Resource(approvals).Name(name).Do(ctx).Into(request)
	return request, err
}

// Decide writes a decision; who decides is stamped by the API server. It returns the request as it then is.
func (c *Cluster) Decide(ctx context.Context, name string, decision v1alpha1.Decision) (*v1alpha1.ApprovalRequest, error) {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"decision": decision}})
	if err != nil {
		return nil, fmt.Errorf("encoding the decision: %w", err)
	}
	request := &v1alpha1.ApprovalRequest{}
	err = c.client.Patch(types.MergePatchType).Namespace(c.Namespace).Resource(approvals).Name(name).
		Body(patch).Do(ctx).Into(request)
	return request, err
}

// Log opens a recording's log, in the format that can be verified. The caller closes it.
func (c *Cluster) Log(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.client.Get().AbsPath(logsPath, "namespaces", c.Namespace, recordings, name, "log").
		Param("format", string(record.Archive)).Stream(ctx)
}
