package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// leasedPolicy is a policy whose target has a kubeconfig: the agent is another account in the cluster than its pod's.
func leasedPolicy(namespace string) string {
	return fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: reporter, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: cluster
    kubernetes:
      credentials: {secretRef: {name: reporter}}
      rules:
      - name: no-deletes
        match: {verbs: [delete, deletecollection]}
        action: Deny
        message: agents remove nothing
      - name: looking
        match: {resources: [pods/exec], programs: [cat, echo]}
        action: Allow
      defaultAction: Allow
---
`, namespace)
}

// kubeconfigSecret is a Secret with a kubeconfig for a token in the cluster itself.
func kubeconfigSecret(ctx context.Context, namespace, token string) string {
	GinkgoHelper()
	root := kubectl(ctx, "get", "configmap", "kube-root-ca.crt", "-n", namespace, "-o", `jsonpath={.data.ca\.crt}`)
	config, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "x",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": "https://not-used.example", "certificate-authority-data": []byte(root)}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": token}}},
		"contexts": []any{map[string]any{"name": "x", "context": map[string]any{"cluster": "c", "user": "u"}}},
	})
	Expect(err).NotTo(HaveOccurred())
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "reporter", "namespace": namespace},
		"stringData": map[string]any{"kubeconfig": string(config)},
	})
	Expect(err).NotTo(HaveOccurred())
	return string(secret) + "\n---\n"
}

var _ = Describe("A target with a kubeconfig", Ordered, func() {
	const whoami = "kubectl auth whoami -o jsonpath={.status.userInfo.username}"
	var namespace string

	token := func(ctx context.Context, account string) string {
		return strings.TrimSpace(kubectl(ctx, "create", "token", account, "-n", namespace))
	}

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: ServiceAccount
metadata: {name: reporter, namespace: %[1]s}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: successor, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reporter, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: reporter, namespace: %[1]s}]
`, namespace))
		Eventually(func(g Gomega) {
			_, err := env.Kubectl(ctx, "get", "configmap", "kube-root-ca.crt", "-n", namespace)
			g.Expect(err).NotTo(HaveOccurred())
		}).Should(Succeed())
		startAgent(ctx, namespace, kubeconfigSecret(ctx, namespace, token(ctx, "reporter")), leasedPolicy(namespace), worker(namespace))
		kubectl(ctx, "wait", "-n", namespace, "pod/worker", "--for=condition=Ready", "--timeout=90s")
	})

	It("makes the agent another account than its pod's, with kubectl unchanged", func(ctx context.Context) {
		Expect(inAgent(ctx, namespace, whoami).Output).To(Equal("system:serviceaccount:" + namespace + ":reporter"))
		Expect(inAgent(ctx, namespace, "kubectl get pods -o name").Stdout).To(Equal("pod/agent\npod/worker\n"))
		Expect(inAgent(ctx, namespace, "kubectl exec worker -c main -- echo here").Stdout).To(Equal("here\n"))
	})

	It("holds the account to the policy's rules, and shows neither its token nor other values of Secrets", func(ctx context.Context) {
		result := inAgent(ctx, namespace, "kubectl delete pod worker; kubectl exec worker -c main -- rm /tmp/contacts")
		Expect(result.Output).To(And(ContainSubstring("agents remove nothing"), ContainSubstring("refused by Chaperone")))
		result = inAgent(ctx, namespace, "kubectl get secret reporter -o yaml; kubectl get secret reporter -o jsonpath={.data.kubeconfig} | base64 -d")
		Expect(result.Output).To(ContainSubstring("[masked by chaperone]"))
		Expect(result.Output).NotTo(Or(ContainSubstring("current-context"), ContainSubstring("eyJ")))
	})

	It("uses another kubeconfig soon after the Secret has it", func(ctx context.Context) {
		apply(ctx, kubeconfigSecret(ctx, namespace, token(ctx, "successor")))
		Eventually(func(g Gomega) {
			g.Expect(inAgent(ctx, namespace, whoami).Output).To(Equal("system:serviceaccount:" + namespace + ":successor"))
		}).WithTimeout(3 * time.Minute).Should(Succeed())
	})
})
