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
      - name: no-shells
        match: {resources: [pods/exec, pods/attach], interactive: true}
        action: Deny
      - name: changes
        match: {resources: [pods/exec], namespaces: [%[1]s], programs: [touch]}
        action: RequireApproval
        approval: {timeout: 60s, wait: 60s}
      - name: looking
        match: {resources: [pods/exec], namespaces: [%[1]s], programs: [cat, echo, ls, tar]}
        action: Allow
      - name: web
        match: {resources: [pods/portforward], namespaces: [%[1]s], ports: [8000]}
        action: Allow
      masking:
      - detectors: [Email]
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

// worker is a pod that agents look into: it answers what it is sent on port 8000, in capitals.
func worker(namespace string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: worker, namespace: %s, labels: {app: worker}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/chaperone/toolbox:dev
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'echo "Ada: ada@lovelace.example" >/tmp/contacts; sleep infinity']
  - name: echo
    image: localhost/chaperone/toolbox:dev
    imagePullPolicy: IfNotPresent
    command: [python3, -c, "import socket\ns = socket.create_server(('127.0.0.1', 8000))\nwhile True:\n    c = s.accept()[0]\n    c.sendall(c.recv(100).upper())\n    c.close()"]
---
`, namespace)
}

var _ = Describe("An agent's Kubernetes API", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		startAgent(ctx, namespace, kubernetesPolicy(namespace), worker(namespace))
		kubectl(ctx, "wait", "-n", namespace, "pod/worker", "--for=condition=Ready", "--timeout=90s")
	})

	It("works in the cluster as the pod's account, whose token the agent does not have", func(ctx context.Context) {
		result := inAgent(ctx, namespace, "kubectl get pods -o name")
		Expect(result.Stdout).To(Equal("pod/agent\npod/worker\n"), result.Output)
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

	// Both transports, as kubectl chooses them.
	for name, environment := range map[string]string{"WebSocket": "", "SPDY": "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false "} {
		It("executes what a rule allows, masked, over "+name, func(ctx context.Context) {
			result := inAgent(ctx, namespace, environment+"kubectl exec worker -c main -- cat /tmp/contacts")
			Expect(result.Stdout).To(HavePrefix("Ada: "), result.Output)
			Expect(result.Output).NotTo(ContainSubstring("lovelace"))
			result = inAgent(ctx, namespace, environment+"kubectl exec worker -c main -- sh -c 'ls /none; echo here'; echo status $?")
			Expect(result.Output).To(And(ContainSubstring("No such file"), ContainSubstring("here"), ContainSubstring("status 0")))
			result = inAgent(ctx, namespace, environment+"kubectl exec worker -c main -- ls /none; echo status $?")
			Expect(result.Output).To(ContainSubstring("status 2"))
		})

		It("executes nothing else over "+name, func(ctx context.Context) {
			for _, command := range []string{"exec worker -c main -- rm /tmp/contacts", "exec worker -c main -- sh -c 'echo a; rm /tmp/contacts'", "exec -i worker -c main -- sh", "attach -i worker -c main"} {
				result := inAgent(ctx, namespace, "echo 'rm /tmp/contacts' | "+environment+"kubectl "+command)
				Expect(result.Output).To(And(ContainSubstring("refused by Chaperone"), ContainSubstring(namespace+"/cluster")), command)
			}
			Expect(kubectl(ctx, "exec", "-n", namespace, "worker", "-c", "main", "--", "cat", "/tmp/contacts")).To(ContainSubstring("lovelace"))
		})

		It("copies files both ways over "+name, func(ctx context.Context) {
			result := inAgent(ctx, namespace, environment+"kubectl cp -c main worker:/tmp/contacts /tmp/copied && cat /tmp/copied")
			Expect(result.Output).To(And(ContainSubstring("Ada: "), Not(ContainSubstring("lovelace"))))
			result = inAgent(ctx, namespace, "echo brought >/tmp/brought && "+environment+"kubectl cp -c main /tmp/brought worker:/tmp/brought && "+environment+"kubectl exec worker -c main -- cat /tmp/brought")
			Expect(result.Output).To(ContainSubstring("brought"))
		})

		It("forwards the ports that a rule names over "+name, func(ctx context.Context) {
			forward := func(port, until string) string {
				return "rm -f /tmp/forward; " + environment + "kubectl port-forward pod/worker 18000:" + port + " >/tmp/forward 2>&1 & p=$!; " +
					"for i in $(seq 150); do grep -qs Forwarding /tmp/forward && break; sleep .2; done; " +
					"echo hello | nc -w 20 127.0.0.1 18000; for i in $(seq 150); do grep -q '" + until + "' /tmp/forward && break; sleep .2; done; kill $p; wait $p; cat /tmp/forward"
			}
			Expect(inAgent(ctx, namespace, forward("8000", "Handling")).Output).To(ContainSubstring("HELLO"))
			refused := inAgent(ctx, namespace, forward("8001", "refused by Chaperone"))
			Expect(refused.Output).To(ContainSubstring("refused by Chaperone"))
		})
	}

	It("waits for an approval, and executes once it is given", func(ctx context.Context) {
		done := make(chan result, 1)
		go func() {
			done <- inAgent(ctx, namespace, "kubectl exec worker -c main -- touch /tmp/made; echo status $?")
		}()
		apply(ctx, approverRole(namespace))
		dana, err := env.NewUser(ctx, GinkgoT().TempDir(), "kim-"+namespace, "dba")
		Expect(err).NotTo(HaveOccurred())
		request := pendingRequest(ctx, namespace)
		Expect(kubectl(ctx, "get", "apr", request, "-n", namespace, "-o", "yaml")).To(ContainSubstring("'touch' '/tmp/made'"))
		_, err = dana.Kubectl(ctx, "patch", "apr", request, "-n", namespace, "--type=merge", "-p", `{"spec":{"decision":{"verdict":"Approve","reason":"fine"}}}`)
		Expect(err).NotTo(HaveOccurred())
		Eventually(done).Should(Receive(HaveField("Output", ContainSubstring("status 0"))))
		Expect(inAgent(ctx, namespace, "kubectl exec worker -c main -- ls /tmp").Output).To(ContainSubstring("made"))
	})

	It("is recorded", func(ctx context.Context) {
		Eventually(func(g Gomega) {
			names := kubectl(ctx, "get", "rec", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}")
			var all strings.Builder
			for name := range strings.FieldsSeq(names) {
				all.WriteString(kubectl(ctx, "get", "--raw", "/apis/logs.chaperone.dev/v1alpha1/namespaces/"+namespace+"/sessionrecordings/"+name+"/log"))
			}
			g.Expect(all.String()).To(And(ContainSubstring("rm /tmp/contacts"), ContainSubstring("exit status 2"), ContainSubstring("portforward worker")))
			g.Expect(all.String()).NotTo(ContainSubstring("lovelace"))
		}).Should(Succeed())
	})
})
