package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Injection", func() {
	It("never leaves a pod unprotected when a policy and its Deployment come in one file, a hundred times", func(ctx context.Context) {
		// The pods are never scheduled: what counts is how they were admitted.
		const rounds = 100
		namespaces := make([]string, rounds)
		for i := range rounds {
			namespaces[i] = fmt.Sprintf("e2e-race-%d-%d", time.Now().Unix(), i)
		}
		DeferCleanup(func(ctx context.Context) {
			_, _ = env.Kubectl(ctx, append([]string{"delete", "namespace", "--wait=false", "--ignore-not-found"}, namespaces...)...)
		})
		for _, namespace := range namespaces {
			apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n---\n"+
				fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: %[1]s}
spec: {podSelector: {}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      nodeSelector: {example.com/nowhere: "true"}
      containers: [{name: agent, image: localhost/chaperone/toolbox:dev, command: [sleep, infinity]}]
`, namespace))
		}
		for _, namespace := range namespaces {
			Eventually(func(g Gomega) {
				got := kubectl(ctx, "get", "pods", "-n", namespace, "-o", "jsonpath={range .items[*]}{.spec.initContainers[*].name};{end}")
				g.Expect(got).To(Equal("chaperone-redirect chaperone;"), namespace)
			}).Should(Succeed())
		}
	})

	It("leaves pods alone that no policy selects", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		apply(ctx, policy(namespace, "db"))
		apply(ctx, strings.Replace(agentPod(namespace, "other", ""), "app: agent", "app: other", 1))
		Expect(kubectl(ctx, "get", "pod", "other", "-n", namespace, "-o", "jsonpath={.spec.initContainers}")).To(BeEmpty())
	})

	It("lets a Job with an init container of its own finish, both behind the sidecar", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		query := func(id int) string {
			return fmt.Sprintf(`["psql", "-XAt", "host=%s dbname=app user=agent sslmode=verify-full", "-c", "SELECT name, card_number FROM customers WHERE id = %d"]`, database.Host(), id)
		}
		apply(ctx, policy(namespace, "db")+fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: %s}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: agent}}
    spec:
      restartPolicy: Never
      initContainers:
      - {name: prepare, image: "localhost/chaperone/toolbox:dev", imagePullPolicy: IfNotPresent, command: %s}
      containers:
      - {name: report, image: "localhost/chaperone/toolbox:dev", imagePullPolicy: IfNotPresent, command: %s}
`, namespace, query(1), query(2)))
		kubectl(ctx, "wait", "-n", namespace, "job/report", "--for=condition=Complete", "--timeout=120s")
		Expect(kubectl(ctx, "logs", "-n", namespace, "job/report", "-c", "prepare")).To(And(ContainSubstring("Ada|"), Not(ContainSubstring("4929123456789015"))))
		Expect(kubectl(ctx, "logs", "-n", namespace, "job/report", "-c", "report")).To(And(ContainSubstring("Grace|"), Not(ContainSubstring("5425233430109903"))))
		Eventually(func() string {
			return kubectl(ctx, "get", "rec", "-n", namespace, "-o", "jsonpath={.items[*].status.phase}")
		}).Should(Equal("Complete"))
	})

	It("keeps the pod's CA over a restart of the sidecar, and refuses while it is away", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db"))
		ca := inAgent(ctx, namespace, "cat $PGSSLROOTCERT").Stdout
		Expect(ca).To(ContainSubstring("BEGIN CERTIFICATE"))
		killSidecar(ctx, namespace, "agent")
		Eventually(func() string {
			return kubectl(ctx, "get", "pod", "agent", "-n", namespace, "-o", "jsonpath={.status.initContainerStatuses[1].restartCount} {.status.initContainerStatuses[1].started}")
		}).Should(Equal("1 true"))
		Expect(inAgent(ctx, namespace, "cat $PGSSLROOTCERT").Stdout).To(Equal(ca))
		Eventually(func() string {
			return psqlWith(ctx, namespace, "sslmode=verify-full", "SELECT name FROM customers WHERE id = 1").Output
		}).Should(Equal("Ada\n"))
	})

	It("joins the targets of several policies and lets the strictest decide", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		second := fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: no-deletes, namespace: %s}
spec:
  podSelector: {}
  targets:
  - name: db
    hosts: [%s]
    port: 5432
    postgres:
      tls: {mode: VerifyFull, caFrom: {configMapKeyRef: {name: db-ca, key: ca.crt}}}
      credentials: {secretRef: {name: db}}
      rules:
      - {name: no-deletes, match: {commands: [DELETE]}, action: Deny, message: nothing is deleted here}
      defaultAction: Allow
---
`, namespace, database.Host())
		startAgent(ctx, namespace, policy(namespace, "db"), second)
		Expect(psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1").Output).To(Equal("Ada\n"))
		Expect(psql(ctx, namespace, "DELETE FROM notes WHERE id = 1").Output).To(ContainSubstring("nothing is deleted here"))
		Expect(psql(ctx, namespace, "DROP TABLE notes").Output).To(ContainSubstring("schema changes go through migrations"))
	})

	It("reaches running sidecars when a policy changes, without a restart", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db"))
		Expect(psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1").Output).To(Equal("Ada\n"))
		apply(ctx, policy(namespace, "db", "- {name: closed, match: {commands: [SELECT]}, action: Deny, message: closed for the day}"))
		Eventually(func() string { return psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1").Output }).
			Should(ContainSubstring("closed for the day"))
		kubectl(ctx, "delete", "agentpolicy", "db", "-n", namespace)
		Eventually(func() string { return psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1").Output }).
			ShouldNot(Or(ContainSubstring("Ada"), ContainSubstring("closed for the day")))
		Expect(kubectl(ctx, "get", "pod", "agent", "-n", namespace, "-o", "jsonpath={.status.initContainerStatuses[1].restartCount}")).To(Equal("0"))
	})
})
