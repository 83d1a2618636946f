package api_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

var _ = Describe("writing an AgentPolicy", Ordered, ContinueOnFailure, func() {
	var namespace string
	BeforeAll(func(ctx SpecContext) { namespace = newNamespace(ctx) })

	pg := func(p *v1alpha1.AgentPolicy) *v1alpha1.PostgresTarget { return p.Spec.Targets[0].Postgres }
	withRule := func(r v1alpha1.PostgresRule) func(*v1alpha1.AgentPolicy) {
		return func(p *v1alpha1.AgentPolicy) { pg(p).Rules = []v1alpha1.PostgresRule{r} }
	}

	It("fills in the defaults that it leaves out", func(ctx SpecContext) {
		policy := policyIn(namespace, "defaults")
		withRule(v1alpha1.PostgresRule{Name: "writes", Action: v1alpha1.ActionRequireApproval, Approval: &v1alpha1.Approval{}})(policy)
		Expect(admin.Create(ctx, policy)).To(Succeed())
		Expect(policy.Spec.Enforcement).To(Equal(v1alpha1.EnforcementEnforce))
		Expect(policy.Spec.Egress.Unmatched).To(Equal(v1alpha1.ActionDeny))
		Expect(policy.Spec.Recording.Durability).To(Equal("Spool"))
		Expect(policy.Spec.Recording.OnFailure).To(Equal("Block"))
		Expect(policy.Spec.Recording.Retention.Duration).To(Equal(720 * time.Hour))
		Expect(pg(policy).TLS.Mode).To(Equal("VerifyFull"))
		Expect(pg(policy).DefaultAction).To(Equal(v1alpha1.ActionDeny))
		approval := pg(policy).Rules[0].Approval
		Expect(approval.Required).To(BeEquivalentTo(1))
		Expect(approval.Timeout.Duration).To(Equal(15 * time.Minute))
		Expect(approval.InTransaction).To(Equal("Refuse"))
		Expect(approval.Scope).To(Equal("Pod"))
	})

	DescribeTable("refuses a mistake and names its field",
		func(ctx SpecContext, change func(*v1alpha1.AgentPolicy), field, says string) {
			policy := policyIn(namespace, "mistaken")
			change(policy)
			Expect(admin.Create(ctx, policy)).To(MatchError(And(ContainSubstring(field), ContainSubstring(says))))
		},
		Entry("no protocol", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Postgres = nil },
			"spec.targets", "exactly one of postgres, ssh and kubernetes"),
		Entry("two protocols", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Kubernetes = &v1alpha1.KubernetesTarget{} },
			"spec.targets", "exactly one of postgres, ssh and kubernetes"),
		Entry("no host", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Hosts = nil }, "spec.targets[0].hosts", "hosts is required"),
		Entry("no port", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Port = nil }, "spec.targets[0].port", "port is required"),
		Entry("a host that is a URL", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Hosts = []v1alpha1.Host{"https://db"} }, "spec.targets[0].hosts[0]", "should match"),
		Entry("a port that is none", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Port = ptr.To[v1alpha1.Port](70000) }, "spec.targets[0].port", "65535"),
		Entry("a name with blanks", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Name = "my db" }, "spec.targets[0].name", "should match"),
		Entry("a password of agents that is not printable ASCII", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Postgres.AgentPassword = "pässword" },
			"spec.targets[0].postgres.agentPassword", "should match"),
		Entry("a password of agents that is too long", func(p *v1alpha1.AgentPolicy) { p.Spec.Targets[0].Postgres.AgentPassword = strings.Repeat("x", 129) },
			"spec.targets[0].postgres.agentPassword", "128"),
		Entry("an unknown action", withRule(v1alpha1.PostgresRule{Name: "r", Action: "Maybe"}), "spec.targets[0].postgres.rules[0].action", "Unsupported value"),
		Entry("an approval on a rule that allows", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionAllow, Approval: &v1alpha1.Approval{Required: 1}}),
			"spec.targets[0].postgres.rules[0].approval", "belongs to action RequireApproval"),
		Entry("a table without its schema", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionAllow, Match: v1alpha1.PostgresMatch{Tables: []string{"customers"}}}),
			"spec.targets[0].postgres.rules[0].match.tables[0]", "should match"),
		Entry("a wait beyond the request's life", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionRequireApproval, Approval: &v1alpha1.Approval{
			Timeout: &metav1.Duration{Duration: time.Minute}, Wait: &metav1.Duration{Duration: time.Hour},
		}}), "spec.targets[0].postgres.rules[0].approval.wait", "longer than the request stands"),
		Entry("a quorum of nobody", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionRequireApproval, Approval: &v1alpha1.Approval{Required: -1}}),
			"spec.targets[0].postgres.rules[0].approval.required", "greater than or equal to 1"),
		Entry("a condition that does not compile", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionDeny, When: "command.tables.exists("}),
			"spec.targets[0].postgres.rules[0].when", "Syntax error"),
		Entry("a condition on what commands have not", withRule(v1alpha1.PostgresRule{Name: "r", Action: v1alpha1.ActionDeny, When: "command.colour == 'red'"}),
			"spec.targets[0].postgres.rules[0].when", "colour"),
		Entry("a capability that leads around the sidecar", func(p *v1alpha1.AgentPolicy) {
			p.Spec.Containers = &v1alpha1.ContainerRestrictions{Capabilities: []v1alpha1.AgentCapability{"NET_ADMIN"}}
		}, "spec.containers.capabilities[0]", "Unsupported value"),
		Entry("a masking pattern that is no regular expression", func(p *v1alpha1.AgentPolicy) {
			pg(p).Masking = []v1alpha1.PostgresMasking{{Columns: []string{"public.customers.card"}, Pattern: "("}}
		}, "spec.targets[0].postgres.masking[0].pattern", "missing closing"),
		Entry("a negative limit of bytes", func(p *v1alpha1.AgentPolicy) {
			pg(p).Limits = &v1alpha1.PostgresLimits{Bytes: ptr.To(resource.MustParse("-1"))}
		}, "spec.targets[0].postgres.limits.bytes", ""),
		Entry("a root from two places", func(p *v1alpha1.AgentPolicy) {
			pg(p).TLS.CAFrom = &v1alpha1.ValueFrom{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{Key: "a"}, SecretKeyRef: &corev1.SecretKeySelector{Key: "a"}}
		}, "spec.targets[0].postgres.tls.caFrom", "exactly one of configMapKeyRef and secretKeyRef"),
		Entry("an overlay of a relative path", func(p *v1alpha1.AgentPolicy) { p.Spec.Trust = &v1alpha1.Trust{Paths: []string{"db.pem"}} }, "spec.trust.paths[0]", "should match"),
		Entry("an overlay that climbs", func(p *v1alpha1.AgentPolicy) { p.Spec.Trust = &v1alpha1.Trust{Paths: []string{"/etc/../proc/x"}} }, "spec.trust.paths[0]", "plain absolute path"),
		Entry("an overlay of the resolver's file", func(p *v1alpha1.AgentPolicy) { p.Spec.Trust = &v1alpha1.Trust{Paths: []string{"/etc/resolv.conf"}} }, "spec.trust.paths[0]", "cannot be overlaid"),
		Entry("a selector that is none", func(p *v1alpha1.AgentPolicy) {
			p.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Sometimes"}}
		}, "spec.podSelector", "Sometimes"),
		Entry("two targets for one host and port", func(p *v1alpha1.AgentPolicy) {
			second := *p.Spec.Targets[0].DeepCopy()
			second.Name, second.Hosts = "again", []v1alpha1.Host{"BILLING-db.prod.svc."}
			p.Spec.Targets = append(p.Spec.Targets, second)
		}, "spec.targets[1].hosts", "targets billing and again are both for billing-db.prod.svc:5432"),
	)

	It("refuses a policy where the operator itself runs", func(ctx SpecContext) {
		Expect(admin.Create(ctx, policyIn(operatorNamespace, "self"))).To(MatchError(ContainSubstring("never put behind a sidecar")))
		Expect(admin.Create(ctx, policyIn("kube-system", "cluster"))).To(MatchError(ContainSubstring("never put behind a sidecar")))
	})

	Context("by someone who may write policies", Ordered, func() {
		var erin client.Client
		BeforeAll(func(ctx SpecContext) {
			allow(ctx, namespace, "erin", rule("chaperone.dev", "agentpolicies", "get", "list", "create", "update", "patch"))
			own := rule("", "secrets", "get")
			own.ResourceNames = []string{"erins-db"}
			allow(ctx, namespace, "erin", own, rule("", "configmaps", "get"))
			erin = as("erin")
			Eventually(func() error { return erin.List(ctx, &v1alpha1.AgentPolicyList{}, client.InNamespace(namespace)) }).
				WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
		})

		It("refuses a Secret that the writer may not read, at its creation", func(ctx SpecContext) {
			Expect(erin.Create(ctx, policyIn(namespace, "theft"))).To(MatchError(And(
				ContainSubstring("spec.targets[0].postgres.credentials.secretRef"),
				ContainSubstring("user erin may not get secrets "+namespace+"/billing-db"),
			)))
		})

		It("takes one that the writer may read, though it does not exist yet", func(ctx SpecContext) {
			policy := policyIn(namespace, "own")
			pg(policy).Credentials.SecretRef.Name = "erins-db"
			pg(policy).TLS.CAFrom = &v1alpha1.ValueFrom{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "db-ca"}, Key: "ca.crt",
			}}
			Expect(erin.Create(ctx, policy)).To(Succeed())
		})

		It("refuses another's policy turned to a host of the writer's own", func(ctx SpecContext) {
			policy := policyIn(namespace, "platform")
			Expect(admin.Create(ctx, policy)).To(Succeed())
			changed := policy.DeepCopy()
			changed.Spec.Targets[0].Hosts = []v1alpha1.Host{"evil.example"}
			Expect(erin.Patch(ctx, changed, client.MergeFrom(policy))).To(MatchError(ContainSubstring("user erin may not get secrets")))
			changed = policy.DeepCopy()
			changed.Labels = map[string]string{"team": "erin"}
			Expect(erin.Patch(ctx, changed, client.MergeFrom(policy))).To(Succeed())
		})

		It("asks about the root of a server as well", func(ctx SpecContext) {
			policy := policyIn(namespace, "root")
			pg(policy).Credentials = nil
			pg(policy).TLS.CAFrom = &v1alpha1.ValueFrom{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "somebody-elses"}, Key: "tls.key",
			}}
			Expect(erin.Create(ctx, policy)).To(MatchError(ContainSubstring("spec.targets[0].postgres.tls.caFrom.secretKeyRef")))
		})
	})
})
