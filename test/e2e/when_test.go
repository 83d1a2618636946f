package e2e

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A rule with a condition", func() {
	It("is enforced in the pod, for the commands that its expression is true for", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db", `- name: not-the-customers
        when: command.tables.exists(t, t.endsWith("customers"))
        action: Deny
        message: customers are none of an agent's business`))
		Expect(psql(ctx, namespace, "SELECT 'read', count(*) FROM notes").Output).To(HavePrefix("read|"))
		result := psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1", "SELECT 'read', count(*) FROM notes")
		Expect(result.Output).To(ContainSubstring("customers are none of an agent's business"))
		Expect(result.Output).To(ContainSubstring("not-the-customers"))
		Expect(result.Output).NotTo(ContainSubstring("Ada"))
		Expect(strings.TrimSpace(result.Stdout)).To(HavePrefix("read|"), "the session lives on")
	})

	It("is refused when it is applied, if the expression is wrong", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		result, err := env.Apply(ctx, policy(namespace, "db", `- name: misspelt
        when: command.tabels.exists(t, t.endsWith("customers"))
        action: Deny`))
		Expect(err).To(HaveOccurred())
		Expect(result.Output).To(ContainSubstring("command.tabels: a postgres command has only"))
	})
})
