package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/gomega"

	. "github.com/onsi/ginkgo/v2"

	"github.com/chaperone-dev/chaperone/test/environment"
)

// policy is the policy that most specs use; rules are added on top of its list.
func policy(namespace, name string, rules ...string) string {
	return fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: db
    hosts: [%[3]s]
    port: 5432
    postgres:
      tls: {mode: VerifyFull, caFrom: {configMapKeyRef: {name: db-ca, key: ca.crt}}}
      credentials: {secretRef: {name: db}}
      rules:%[4]s
      - name: no-schema-change
        match: {commands: [DROP, TRUNCATE, ALTER, CREATE]}
        action: Deny
        message: schema changes go through migrations
      - name: unfiltered-writes
        match: {commands: [UPDATE, DELETE], unfiltered: true}
        action: RequireApproval
        approval: {timeout: 60s, wait: 60s}
      - name: reads-and-writes
        match: {commands: [SELECT, INSERT, UPDATE, DELETE], tables: ["public.*"]}
        action: Allow
      masking:
      - columns: ["public.customers.card_number"]
      - detectors: [CreditCard]
---
`, namespace, name, database.Host(), strings.Join(append([]string{""}, rules...), "\n      "))
}

// agentPod is a pod as its author wrote it, before admission; its containers run as root.
func agentPod(namespace, name, spec string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: agent}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 0}
  containers:
  - name: agent
    image: localhost/chaperone/toolbox:dev
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
%s
---
`, name, namespace, spec)
}

// startAgent applies policies and an agent pod in one go, and waits until it runs.
func startAgent(ctx context.Context, namespace string, policies ...string) {
	GinkgoHelper()
	apply(ctx, strings.Join(policies, "")+agentPod(namespace, "agent", ""))
	kubectl(ctx, "wait", "-n", namespace, "pod/agent", "--for=condition=Ready", "--timeout=90s")
}

// inAgent runs a shell command in the agent's container.
func inAgent(ctx context.Context, namespace, command string) environment.Result {
	result, _ := env.Kubectl(ctx, "exec", "-n", namespace, "agent", "-c", "agent", "--", "sh", "-c", command)
	return result
}

// psql runs statements in one session of psql in the agent; the output holds errors too.
func psql(ctx context.Context, namespace string, statements ...string) environment.Result {
	return psqlWith(ctx, namespace, "sslmode=require", statements...)
}

func psqlWith(ctx context.Context, namespace, options string, statements ...string) environment.Result {
	args := []string{"exec", "-n", namespace, "agent", "-c", "agent", "--", "psql", "-X", "-A", "-t",
		"host=" + database.Host() + " dbname=app user=agent connect_timeout=20 " + options}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	result, _ := env.Kubectl(ctx, args...)
	return result
}

// inBackground runs psql until it ends; receive its result from the channel.
func inBackground(ctx context.Context, namespace string, statements ...string) <-chan environment.Result {
	done := make(chan environment.Result, 1)
	go func() { done <- psql(ctx, namespace, statements...) }()
	return done
}

// pendingRequest waits for the one pending approval request of a namespace.
func pendingRequest(ctx context.Context, namespace string) string {
	GinkgoHelper()
	var name string
	Eventually(func(g Gomega) {
		result, err := env.Kubectl(ctx, "get", "apr", "-n", namespace, "-o",
			`jsonpath={.items[?(@.status.phase=="Pending")].metadata.name}`)
		g.Expect(err).NotTo(HaveOccurred())
		name = strings.TrimSpace(result.Stdout)
		g.Expect(name).NotTo(BeEmpty())
	}).WithTimeout(30 * time.Second).Should(Succeed())
	return name
}

// result is what a command in the agent printed.
type result = environment.Result
