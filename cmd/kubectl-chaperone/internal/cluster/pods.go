package cluster

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Namespaces are the names of all namespaces.
func (c *Cluster) Namespaces(ctx context.Context) ([]string, error) {
	list, err := c.core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}

// Pod returns one pod.
func (c *Cluster) Pod(ctx context.Context, name string) (*corev1.Pod, error) {
	pod, err := c.core.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	return pod, explain(err, podKind, c.Namespace, name)
}

// Pods returns the pods of a namespace, of all where it is empty.
func (c *Cluster) Pods(ctx context.Context, namespace string) (*corev1.PodList, error) {
	return c.pods(ctx, namespace, "")
}

func (c *Cluster) pods(ctx context.Context, namespace, selector string) (*corev1.PodList, error) {
	all := &corev1.PodList{}
	for options := (metav1.ListOptions{Limit: page, LabelSelector: selector}); ; options.Continue = all.Continue {
		part, err := c.core.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, explain(err, podKind, namespace, "")
		}
		all.ListMeta, all.Items = part.ListMeta, append(all.Items, part.Items...)
		if part.Continue == "" {
			return all, nil
		}
	}
}

// lastLines is how many lines of a sidecar's log are read: it has one for every refused connection.
const lastLines = 20_000

// SidecarLog opens the end of the log of a pod's sidecar. The caller closes it.
func (c *Cluster) SidecarLog(ctx context.Context, pod string) (io.ReadCloser, error) {
	lines := int64(lastLines)
	return c.core.CoreV1().Pods(c.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: layout.SidecarContainer, TailLines: &lines}).Stream(ctx)
}

// Injected returns the pods of a namespace, of all where it is empty, that were put behind a sidecar.
func (c *Cluster) Injected(ctx context.Context, namespace string) (*corev1.PodList, error) {
	return c.pods(ctx, namespace, layout.InjectedLabel)
}

// operatorLabels are what every way of installing the operator gives its pods.
const operatorLabels = "app.kubernetes.io/name=chaperone,app.kubernetes.io/component=operator"

// Operators returns the operator's pods, wherever it is installed.
func (c *Cluster) Operators(ctx context.Context) (*corev1.PodList, error) {
	list, err := c.core.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: operatorLabels})
	return list, explain(err, podKind, "", "")
}
