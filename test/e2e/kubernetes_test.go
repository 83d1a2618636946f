package e2e

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// kubernetesPolicy is a policy for the cluster's own API server, and what the agent's account may do by RBAC alone.
func kubernetesPolicy(namespace string) string {
	return fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: cluster, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: cluster
    kubernetes:
      rules:
      - name: no-deletes
        match: {verbs: [delete, deletecollection]}
        action: Deny
        message: agents remove nothing
      - name: reads
        match: {verbs: [get, list, watch], resources: [pods, secrets, configmaps], namespaces: [%[1]s]}
        action: Allow
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: agent, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: default, namespace: %[1]s}]
---
apiVersion: v1
kind: Secret
metadata: {name: held, namespace: %[1]s}
stringData: {password: not-for-agents}
---
`, namespace)
}

var _ = Describe("An agent's Kubernetes API", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		startAgent(ctx, namespace, kubernetesPolicy(namespace))
	})

	It("works in the cluster as the pod's account, whose token the agent does not have", func(ctx context.Context) {
		result := inAgent(ctx, namespace, "kubectl get pods -o name")
		Expect(result.Stdout).To(Equal("pod/agent\n"), result.Output)
		token := inAgent(ctx, namespace, "cat /var/run/secrets/kubernetes.io/serviceaccount/token").Stdout
		Expect(token).NotTo(BeEmpty())
		direct, _ := env.Kubectl(ctx, "--token="+strings.TrimSpace(token), "get", "pods", "-n", namespace)
		Expect(direct.Output).NotTo(ContainSubstring("pod/agent"))
	})

	It("is denied by rule, in words that kubectl prints", func(ctx context.Context) {
		result := inAgent(ctx, namespace, "kubectl delete secret held")
		Expect(result.Output).To(ContainSubstring("agents remove nothing"))
		Expect(result.Output).To(ContainSubstring("no-deletes"))
		kubectl(ctx, "get", "secret", "held", "-n", namespace)
	})

	It("is denied what no rule allows", func(ctx context.Context) {
		for _, command := range []string{"get pods -n kube-system", "create configmap x", "create token default", "exec agent -- true", "attach agent"} {
			result := inAgent(ctx, namespace, "kubectl "+command)
			Expect(result.Output).To(ContainSubstring("refused by Chaperone"), command)
		}
	})

	It("shows no value of a Secret", func(ctx context.Context) {
		result := inAgent(ctx, namespace, "kubectl get secret held -o yaml; kubectl get secrets -o json")
		Expect(result.Output).To(ContainSubstring("password"))
		Expect(result.Output).NotTo(ContainSubstring("not-for-agents"))
		Expect(result.Output).NotTo(ContainSubstring("bm90LWZvci1hZ2VudHM"))
	})
})
