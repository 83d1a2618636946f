package api_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// plainPod is a pod as a ReplicaSet makes one, with a generated name.
func plainPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "worker-", Namespace: namespace, Labels: map[string]string{"app": "agent"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "registry.example/agent:1"}}},
	}
}

// policyIn selects pods labelled app=agent and has one PostgreSQL target.
func policyIn(namespace, name string) *v1alpha1.AgentPolicy {
	return &v1alpha1.AgentPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.AgentPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
			Targets: []v1alpha1.Target{{
				Name: "billing", Hosts: []v1alpha1.Host{"billing-db.prod.svc"}, Port: ptr.To[v1alpha1.Port](5432),
				Postgres: &v1alpha1.PostgresTarget{Credentials: &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "billing-db"}}},
			}},
		},
	}
}

// protectedNamespace holds one policy, and the operator has noticed.
func protectedNamespace(ctx context.Context, change ...func(*v1alpha1.AgentPolicy)) string {
	GinkgoHelper()
	namespace := newNamespace(ctx)
	policy := policyIn(namespace, "billing")
	for _, c := range change {
		c(policy)
	}
	Expect(admin.Create(ctx, policy)).To(Succeed())
	protect(ctx, namespace)
	return namespace
}

// requestIn is an approval request as the broker files it.
func requestIn(namespace string, change ...func(*v1alpha1.ApprovalRequest)) *v1alpha1.ApprovalRequest {
	out := &v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "worker-", Namespace: namespace, Labels: map[string]string{"chaperone.dev/digest": "d"}},
		Spec: v1alpha1.ApprovalRequestSpec{
			Pod:      v1alpha1.RequestingPod{Name: "worker", UID: types.UID("3a"), ServiceAccount: "default"},
			Policy:   v1alpha1.PolicyReference{Name: "billing", UID: types.UID("4b"), Generation: 1},
			Rule:     "unfiltered-writes",
			Target:   "billing",
			Protocol: "postgres",
			Command: v1alpha1.RequestedCommand{
				Text: "UPDATE customers SET plan = 'free'", Length: 34,
				SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			},
			Approval:  v1alpha1.RequestedApproval{Required: 1, Scope: "Pod"},
			ExpiresAt: metav1.NewTime(time.Now().Add(15 * time.Minute)),
		},
	}
	for _, c := range change {
		c(out)
	}
	return out
}

func initNames(pod *corev1.Pod) []string {
	var out []string
	for _, c := range pod.Spec.InitContainers {
		out = append(out, c.Name)
	}
	return out
}

// beInjected matches a pod that has our containers first.
func beInjected() OmegaMatcher {
	return WithTransform(func(pod *corev1.Pod) []string {
		names := initNames(pod)
		return names[:min(len(names), 2)]
	}, Equal([]string{layout.RedirectContainer, layout.SidecarContainer}))
}
