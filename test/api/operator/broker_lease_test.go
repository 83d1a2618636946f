package operator_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control"
)

var _ = Describe("The broker's leases", func() {
	var o *operator
	var ns string
	var c *control.Client
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		c = o.connect(o.startPod(ctx, ns, "agent", agent, nil).token)
	})

	It("hand out the password of now, for a bounded time", func(ctx SpecContext) {
		secret := apply(ctx, &corev1.Secret{}, ns, `
metadata: {name: billing-db}
type: kubernetes.io/basic-auth
stringData: {username: app, password: first}`)
		lease, err := c.Lease(ctx, ns+"/billing", "billing")
		Expect(err).NotTo(HaveOccurred())
		Expect(lease.Username).To(Equal("app"))
		Expect(lease.Password).To(Equal("first"))
		Expect(lease.NotAfter).To(BeTemporally("~", time.Now().Add(5*time.Minute), 10*time.Second))
		secret.StringData = map[string]string{"password": "second"}
		Expect(kube.Update(ctx, secret)).To(Succeed())
		Eventually(func() (string, error) {
			lease, err := c.Lease(ctx, ns+"/billing", "billing")
			if err != nil {
				return "", err
			}
			return lease.Password, nil
		}).WithTimeout(5 * time.Second).Should(Equal("second"))
		Expect(kube.Delete(ctx, secret)).To(Succeed())
		Eventually(func() error {
			_, err := c.Lease(ctx, ns+"/billing", "billing")
			return err
		}).WithTimeout(5 * time.Second).Should(MatchError(ContainSubstring("secret " + ns + "/billing-db does not exist; create it or correct the name")))
	}, SpecTimeout(time.Minute))

	DescribeTable("say what is wrong with a Secret",
		func(ctx SpecContext, secret, want string) {
			apply(ctx, &corev1.Secret{}, ns, "%s", secret)
			_, err := c.Lease(ctx, ns+"/billing", "billing")
			Expect(err).To(MatchError(ContainSubstring(want)))
			Expect(err).NotTo(MatchError(ContainSubstring("hunter2")))
		},
		Entry("an opaque one", "metadata: {name: billing-db}\nstringData: {username: app, password: hunter2}",
			"is of type Opaque; credentials are of type kubernetes.io/basic-auth, kubernetes.io/tls or kubernetes.io/ssh-auth", SpecTimeout(30*time.Second)),
		Entry("one without a password", "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: app}", "has no key password", SpecTimeout(30*time.Second)),
		Entry("one without a user", "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {password: hunter2}", "has no key username", SpecTimeout(30*time.Second)),
		Entry("a certificate that is none", "metadata: {name: billing-db}\ntype: kubernetes.io/tls\nstringData: {tls.crt: x, tls.key: hunter2}", "tls.crt is no PEM certificate", SpecTimeout(30*time.Second)),
	)

	It("lease nothing that is not for this pod", func(ctx SpecContext) {
		for _, name := range []string{"db", "billing-db"} {
			apply(ctx, &corev1.Secret{}, ns, "metadata: {name: %s}\ntype: kubernetes.io/basic-auth\nstringData: {username: app, password: hunter2}", name)
		}
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: others}
spec:
  podSelector: {matchLabels: {app: other}}
  targets: [{name: db, hosts: [db.svc], port: 5432, postgres: {credentials: {secretRef: {name: db}}}}]`)
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: just-in-time}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets: [{name: db, hosts: [db2.svc], port: 5432, access: {approval: {}}, postgres: {credentials: {secretRef: {name: db}}}}]`)
		lease := func(policy, target string) func() error {
			return func() error { _, err := c.Lease(ctx, policy, target); return err }
		}
		Eventually(lease(ns+"/just-in-time", "db")).WithTimeout(5 * time.Second).Should(MatchError(ContainSubstring("no grant stands for this pod")))
		Expect(lease(ns+"/others", "db")()).To(MatchError(ContainSubstring("no policy " + ns + "/others is for this pod")))
		Expect(lease("kube-system/billing", "billing")()).To(MatchError(ContainSubstring("no policy kube-system/billing is for this pod")))
		Expect(lease(ns+"/billing", "other")()).To(MatchError(ContainSubstring("has no target other")))
		Expect(lease(ns+"/billing", "billing")()).To(Succeed())
	}, SpecTimeout(time.Minute))
})
