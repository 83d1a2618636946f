package e2e

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("When something is wrong", func() {
	It("names an unreachable server", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		apply(ctx, "apiVersion: v1\nkind: Service\nmetadata: {name: gone, namespace: "+namespace+"}\nspec: {selector: {app: nobody}, ports: [{port: 5432}]}\n")
		host := "gone." + namespace + ".svc.cluster.local"
		startAgent(ctx, namespace, strings.ReplaceAll(policy(namespace, "db"), database.Host(), host))
		Expect(inAgent(ctx, namespace, "psql 'host="+host+" dbname=app user=agent connect_timeout=25' -c 'SELECT 1'").Output).
			To(And(ContainSubstring("target"), ContainSubstring("db"), Not(ContainSubstring("only-the-sidecar-knows"))))
	})

	It("names a certificate that does not verify", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		other, _, _, err := newAuthority()
		Expect(err).NotTo(HaveOccurred())
		Expect(env.Credentials(ctx, namespace, "db", "app", "only-the-sidecar-knows", other)).To(Succeed())
		startAgent(ctx, namespace, policy(namespace, "db"))
		Expect(psql(ctx, namespace, "SELECT 1").Output).To(ContainSubstring("certificate"))
	})

	It("names a wrong password and the Secret it came from", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		Expect(env.Credentials(ctx, namespace, "db", "app", "out-of-date", database.CA)).To(Succeed())
		startAgent(ctx, namespace, policy(namespace, "db"))
		output := psql(ctx, namespace, "SELECT 1").Output
		Expect(output).To(And(ContainSubstring("password authentication failed"), Not(ContainSubstring("out-of-date"))))
	})

	It("takes a rotated password on the next connection", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		Expect(env.Credentials(ctx, namespace, "db", "app", "out-of-date", database.CA)).To(Succeed())
		startAgent(ctx, namespace, policy(namespace, "db"))
		Expect(psql(ctx, namespace, "SELECT 1").Output).To(ContainSubstring("password authentication failed"))
		Expect(env.Credentials(ctx, namespace, "db", "app", "only-the-sidecar-knows", database.CA)).To(Succeed())
		Eventually(func() string { return psql(ctx, namespace, "SELECT name FROM customers WHERE id = 1").Output }).Should(Equal("Ada\n"))
	})

	It("says on the policy that a Secret is missing", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		kubectl(ctx, "delete", "secret", "db", "-n", namespace)
		apply(ctx, policy(namespace, "db"))
		Eventually(func() string {
			return kubectl(ctx, "get", "ap", "db", "-n", namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}`)
		}).Should(And(HavePrefix("False "), ContainSubstring("db")))
	})

	It("says on the policy that Pod Security refuses the redirect container", func(ctx context.Context) {
		namespace := newNamespace(ctx, "pod-security.kubernetes.io/enforce: baseline")
		apply(ctx, policy(namespace, "db"))
		_, err := env.Apply(ctx, agentPod(namespace, "agent", ""))
		Expect(err).To(MatchError(ContainSubstring("NET_ADMIN")))
		Eventually(func() string {
			return kubectl(ctx, "get", "ap", "db", "-n", namespace, "-o", `jsonpath={.status.conditions[?(@.type=="Protecting")].status} {.status.conditions[?(@.type=="Protecting")].message}`)
		}).Should(And(HavePrefix("False "), ContainSubstring("pod-security.kubernetes.io/enforce")))
	})

	It("counts pods that ran before the policy as unprotected", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		apply(ctx, agentPod(namespace, "agent", ""))
		kubectl(ctx, "wait", "-n", namespace, "pod/agent", "--for=condition=Ready", "--timeout=90s")
		apply(ctx, policy(namespace, "db"))
		Eventually(func() string {
			return kubectl(ctx, "get", "ap", "db", "-n", namespace, "-o", `jsonpath={.status.pods.unprotected} {.status.conditions[?(@.type=="Protecting")].status}`)
		}).Should(Equal("1 False"))
	})

	It("refuses an invalid policy and names the field", func(ctx context.Context) {
		namespace := newNamespace(ctx)
		for bad, field := range map[string]string{
			strings.Replace(policy(namespace, "bad"), "port: 5432", "port: 99999", 1):                              "spec.targets[0].port",
			strings.Replace(policy(namespace, "bad"), "action: Deny", "action: Perhaps", 1):                        "spec.targets[0].postgres.rules[0].action",
			strings.Replace(policy(namespace, "bad"), "mode: VerifyFull", "mode: Hope", 1):                         "spec.targets[0].postgres.tls.mode",
			strings.Replace(policy(namespace, "bad"), `["public.customers.card_number"]`, `["card_number"]`, 1):    "spec.targets[0].postgres.masking[0].columns[0]",
			policy(namespace, "bad", `- {name: cel, when: "command.tables.exists(t, t.nonsense(", action: Allow}`): "spec.targets[0].postgres.rules[0].when",
		} {
			_, err := env.Apply(ctx, bad)
			Expect(err).To(MatchError(ContainSubstring(field)))
		}
	})

	Context("when the operator is down", Serial, Ordered, func() {
		It("goes on with what was allowed, fails approvals closed, and recovers", func(ctx context.Context) {
			namespace := newNamespace(ctx)
			// An agent that works by itself, all the time.
			apply(ctx, policy(namespace, "db")+strings.Replace(agentPod(namespace, "agent", ""), "[sleep, infinity]", `
    - sh
    - -c
    - |
      while :; do
        date +%s
        psql -XAt "host=`+database.Host()+` dbname=app user=agent connect_timeout=20" -c "SELECT name FROM customers WHERE id = 2" 2>&1
        psql -XAt "host=`+database.Host()+` dbname=app user=agent connect_timeout=20" -c "UPDATE notes SET body = 'y'" 2>&1
        sleep 1
      done`, 1))
			kubectl(ctx, "wait", "-n", namespace, "pod/agent", "--for=condition=Ready", "--timeout=90s")
			recent := func() string { return kubectl(ctx, "logs", "-n", namespace, "agent", "-c", "agent", "--since=12s") }
			pendingRequest(ctx, namespace)
			kubectl(ctx, "scale", "deployment/chaperone", "-n", "chaperone-system", "--replicas=0")
			DeferCleanup(func(ctx context.Context) {
				kubectl(ctx, "scale", "deployment/chaperone", "-n", "chaperone-system", "--replicas=1")
				Expect(env.RolledOut(ctx, "chaperone-system", "deployment/chaperone", 2*time.Minute)).To(Succeed())
			})
			kubectl(ctx, "wait", "pods", "-n", "chaperone-system", "-l", "app.kubernetes.io/name=chaperone", "--for=delete", "--timeout=60s")
			down := time.Now()
			Eventually(func(g Gomega) {
				g.Expect(time.Since(down)).To(BeNumerically(">", 15*time.Second))
				g.Expect(recent()).To(And(ContainSubstring("Grace"), MatchRegexp(`ERROR:.*approval`), Not(ContainSubstring("UPDATE"))))
			}).WithTimeout(90 * time.Second).Should(Succeed())
			By("letting people into the agent's container, and nobody into the sidecar's")
			Expect(inAgent(ctx, namespace, "echo alive").Output).To(Equal("alive\n"))
			_, err := env.Kubectl(ctx, "exec", "-n", namespace, "agent", "-c", "chaperone", "--", "/sidecar", "version")
			Expect(err).To(MatchError(ContainSubstring("pods.guard.chaperone.dev")))
			_, err = env.Apply(ctx, agentPod(namespace, "late", ""))
			Expect(err).To(HaveOccurred(), "a pod of a protected namespace must not start while the operator is down")

			kubectl(ctx, "scale", "deployment/chaperone", "-n", "chaperone-system", "--replicas=1")
			Expect(env.RolledOut(ctx, "chaperone-system", "deployment/chaperone", 2*time.Minute)).To(Succeed())
			Eventually(func() string {
				names := strings.Fields(kubectl(ctx, "get", "rec", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"))
				var log strings.Builder
				for _, name := range names {
					result, _ := env.Kubectl(ctx, "get", "--raw", "/apis/logs.chaperone.dev/v1alpha1/namespaces/"+namespace+"/sessionrecordings/"+name+"/log")
					log.WriteString(result.Output)
				}
				return log.String()
			}).WithTimeout(2 * time.Minute).Should(ContainSubstring("WHERE id = 2"))
		})
	})
})
