package api_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

var _ = Describe("a token for the broker", Ordered, ContinueOnFailure, func() {
	var namespace string
	var pod *corev1.Pod
	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		pod = plainPod(namespace)
		Expect(admin.Create(ctx, pod)).To(Succeed())
	})

	request := func(ctx context.Context, who client.Client, audience string, bound bool) error {
		token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
		if bound {
			token.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: namespace}}
		return who.SubResource("token").Create(ctx, account, token)
	}

	It("is refused to whoever is not a node, whatever else they may do", func(ctx SpecContext) {
		Eventually(func() error { return request(ctx, admin, layout.TokenAudience, true) }).WithContext(ctx).WithTimeout(20 * time.Second).
			Should(MatchError(ContainSubstring("only the kubelet of an injected pod may ask for one")))
		tenant := as("tenant")
		allow(ctx, namespace, "tenant", rule("", "serviceaccounts/token", "create")) // as the ClusterRole edit has it
		Eventually(func() error { return request(ctx, tenant, "elsewhere", true) }).WithContext(ctx).WithTimeout(20 * time.Second).Should(Succeed())
		Expect(request(ctx, tenant, layout.TokenAudience, true)).To(MatchError(ContainSubstring("only the kubelet")))
	})

	It("is given to a node for a pod, and for nothing else", func(ctx SpecContext) {
		allow(ctx, namespace, "system:node:node-1", rule("", "serviceaccounts/token", "create"))
		node := as("system:node:node-1", "system:nodes")
		Eventually(func() error { return request(ctx, node, layout.TokenAudience, true) }).WithContext(ctx).WithTimeout(20 * time.Second).Should(Succeed())
		Expect(request(ctx, node, layout.TokenAudience, false)).To(MatchError(ContainSubstring("must be bound to a pod")))
	})
})
