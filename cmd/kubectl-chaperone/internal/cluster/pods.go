package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	all := &corev1.PodList{}
	for options := (metav1.ListOptions{Limit: page}); ; options.Continue = all.Continue {
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

// operatorLabels are what every way of installing the operator gives its pods.
const operatorLabels = "app.kubernetes.io/name=chaperone,app.kubernetes.io/component=operator"

// Operators returns the operator's pods, wherever it is installed.
func (c *Cluster) Operators(ctx context.Context) (*corev1.PodList, error) {
	list, err := c.core.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: operatorLabels})
	return list, explain(err, podKind, "", "")
}
