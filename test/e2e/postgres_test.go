package e2e

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("An agent's PostgreSQL", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db"))
	})

	It("works without a password, at every sslmode", func(ctx context.Context) {
		for _, mode := range []string{"disable", "prefer", "require", "verify-ca", "verify-full"} {
			Expect(psqlWith(ctx, namespace, "sslmode="+mode, "SELECT name FROM customers WHERE id = 1").Output).
				To(Equal("Ada\n"), "sslmode=%s", mode)
		}
	})

	It("works with any password", func(ctx context.Context) {
		Expect(psqlWith(ctx, namespace, "password=wrong", "SELECT name FROM customers WHERE id = 2").Output).To(Equal("Grace\n"))
	})

	It("reaches the server as the policy's user, whoever the agent says it is", func(ctx context.Context) {
		Expect(psql(ctx, namespace, "SELECT session_user FROM customers LIMIT 1").Output).To(Equal("app\n"))
	})

	DescribeTable("never shows a protected column", func(ctx context.Context, statement string) {
		result := psql(ctx, namespace, statement)
		Expect(result.Output).NotTo(ContainSubstring("4929123456789015"))
		Expect(result.Output).NotTo(ContainSubstring("5109876543219294"))
		Expect(result.Output).NotTo(ContainSubstring("492912345"))
		Expect(result.Output).NotTo(BeEmpty())
	},
		Entry("plain", "SELECT card_number FROM customers WHERE id = 1"),
		Entry("by star", "SELECT * FROM customers WHERE id = 1"),
		Entry("under another name", "SELECT card_number AS x FROM customers WHERE id = 1"),
		Entry("through a view", "SELECT c FROM cards WHERE id = 1"),
		Entry("reversed", "SELECT reverse(card_number) FROM customers WHERE id = 1"),
		Entry("as a whole row", "SELECT customers FROM customers WHERE id = 1"),
		Entry("as JSON", "SELECT row_to_json(customers) FROM customers WHERE id = 1"),
		Entry("through a CTE", "WITH x AS (SELECT card_number AS y FROM customers WHERE id = 1) SELECT y || '' FROM x"),
		Entry("by COPY", "COPY customers TO STDOUT"),
		Entry("by COPY of a query", "COPY (SELECT card_number FROM customers) TO STDOUT"),
		Entry("in an error", "SELECT card_number::date FROM customers WHERE id = 1"),
	)

	It("is refused by rule, and the session lives on", func(ctx context.Context) {
		result := psql(ctx, namespace, "SELECT pg_backend_pid() FROM customers LIMIT 1", "DROP TABLE customers", "SELECT pg_backend_pid() FROM customers LIMIT 1")
		Expect(result.Output).To(ContainSubstring("schema changes go through migrations"))
		Expect(result.Output).To(ContainSubstring("no-schema-change"))
		Expect(result.Output).To(ContainSubstring(namespace + "/db"))
		lines := strings.Split(strings.TrimSpace(result.Stdout), "\n")
		Expect(lines).To(HaveLen(2))
		Expect(lines[0]).To(Equal(lines[1]))
	})

	It("is refused what no rule allows", func(ctx context.Context) {
		Expect(psql(ctx, namespace, "LISTEN x").Output).To(ContainSubstring("ERROR"))
		Expect(psql(ctx, namespace, "SELECT * FROM pg_catalog.pg_authid").Output).To(ContainSubstring("ERROR"))
		Expect(psql(ctx, namespace, "SELECT pg_read_file('/etc/passwd')").Output).To(ContainSubstring("ERROR"))
	})

	It("reads syntax errors as the server says them", func(ctx context.Context) {
		Expect(psql(ctx, namespace, "SELEKT 1").Output).To(ContainSubstring(`syntax error at or near "SELEKT"`))
	})

	It("waits for an approval, and runs once it is given", func(ctx context.Context) {
		kubectl(ctx, "delete", "apr", "--all", "-n", namespace)
		apply(ctx, approverRole(namespace))
		dana, err := env.NewUser(ctx, GinkgoT().TempDir(), "dana-"+namespace, "dba")
		Expect(err).NotTo(HaveOccurred())
		answer := inBackground(ctx, namespace, "DELETE FROM notes")
		name := pendingRequest(ctx, namespace)
		Consistently(answer).WithTimeout(time.Second).ShouldNot(Receive())
		_, err = dana.Kubectl(ctx, "patch", "apr", name, "-n", namespace, "--type=merge", "-p", `{"spec":{"decision":{"verdict":"Approve","reason":"seen"}}}`)
		Expect(err).NotTo(HaveOccurred())
		var result = psqlResult(answer)
		Expect(result).To(ContainSubstring("DELETE 0"))
		Expect(result).To(ContainSubstring(name))
		Expect(kubectl(ctx, "get", "apr", name, "-n", namespace, "-o", "jsonpath={.spec.decisions[0].user} {.status.phase}")).To(Equal("dana-" + namespace + " Used"))
	})

	It("is told of a denial with its reason", func(ctx context.Context) {
		answer := inBackground(ctx, namespace, "UPDATE notes SET body = 'x'")
		name := pendingRequest(ctx, namespace)
		kubectl(ctx, "patch", "apr", name, "-n", namespace, "--type=merge", "-p", `{"spec":{"decision":{"verdict":"Deny","reason":"not on a Friday"}}}`)
		result := psqlResult(answer)
		Expect(result).To(ContainSubstring("not on a Friday"))
		Expect(result).To(ContainSubstring(name))
	})

	It("is told of an expiry", func(ctx context.Context) {
		short := strings.ReplaceAll(policy(namespace, "db"), "{timeout: 60s, wait: 60s}", "{timeout: 3s}")
		apply(ctx, short)
		DeferCleanup(func(ctx context.Context) { apply(ctx, policy(namespace, "db")) })
		Eventually(func() string {
			return psql(ctx, namespace, "UPDATE notes SET body = 'expired'").Output
		}).WithTimeout(90 * time.Second).Should(MatchRegexp(`(?i)expired`))
	})

	It("has its refusals and rows recorded, readable with the reader's own rights only", func(ctx context.Context) {
		psql(ctx, namespace, "DROP TABLE notes")
		var name string
		Eventually(func(g Gomega) {
			name = strings.TrimSpace(kubectl(ctx, "get", "rec", "-n", namespace, "-o", `jsonpath={.items[?(@.status.counts.denied>=1)].metadata.name}`))
			g.Expect(name).NotTo(BeEmpty())
		}).Should(Succeed())
		name = strings.Fields(name)[0]
		path := "/apis/logs.chaperone.dev/v1alpha1/namespaces/" + namespace + "/sessionrecordings/" + name + "/log"
		log := kubectl(ctx, "get", "--raw", path)
		Expect(log).To(ContainSubstring("DROP TABLE notes"))
		Expect(log).NotTo(ContainSubstring("4929123456789015"))

		nobody, err := env.NewUser(ctx, GinkgoT().TempDir(), "nobody-"+namespace)
		Expect(err).NotTo(HaveOccurred())
		refused, err := nobody.Kubectl(ctx, "get", "--raw", path)
		Expect(err).To(HaveOccurred())
		Expect(strings.ToLower(refused.Output)).To(ContainSubstring("forbidden"))
		Expect(kubectl(ctx, "chaperone", "replay", name, "-n", namespace, "--no-timing")).To(MatchRegexp(`(?i)verified`))
	})
})

// psqlResult waits for a statement that runs in the background.
func psqlResult(answer <-chan result) string {
	GinkgoHelper()
	var got result
	Eventually(answer).WithTimeout(60 * time.Second).Should(Receive(&got))
	return got.Output
}

func approverRole(namespace string) string {
	return strings.ReplaceAll(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approver, namespace: NS}
rules:
- {apiGroups: [chaperone.dev], resources: [agentpolicies], verbs: [approve]}
- {apiGroups: [chaperone.dev], resources: [approvalrequests], verbs: [get, list, watch, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approver, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approver}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}]
`, "NS", namespace)
}
