package api_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/decision"
)

// approver is a person who may approve for every policy of the namespace.
func approver(ctx context.Context, namespace, name string, groups ...string) client.Client {
	GinkgoHelper()
	bind(ctx, namespace, "chaperone-approver", name, false)
	who := as(name, groups...)
	// The authorizer takes a new binding up through its own watch.
	Eventually(func() error {
		return who.List(ctx, &v1alpha1.ApprovalRequestList{}, client.InNamespace(namespace))
	}).WithContext(ctx).WithTimeout(10 * time.Second).WithPolling(20 * time.Millisecond).Should(Succeed())
	return who
}

// file makes a request as the broker does.
func file(ctx context.Context, namespace string, change ...func(*v1alpha1.ApprovalRequest)) *v1alpha1.ApprovalRequest {
	GinkgoHelper()
	request := requestIn(namespace, change...)
	Expect(operator.Create(ctx, request)).To(Succeed())
	return request
}

// patch is kubectl patch --type=merge.
func patch(ctx context.Context, who client.Client, request *v1alpha1.ApprovalRequest, spec map[string]any, options ...client.PatchOption) error {
	GinkgoHelper()
	body, err := json.Marshal(map[string]any{"spec": spec})
	Expect(err).NotTo(HaveOccurred())
	return who.Patch(ctx, request.DeepCopy(), client.RawPatch(types.MergePatchType, body), options...)
}

func decide(ctx context.Context, who client.Client, request *v1alpha1.ApprovalRequest, verdict v1alpha1.DecisionVerdict) error {
	return patch(ctx, who, request, map[string]any{"decision": map[string]any{"verdict": verdict, "reason": "looked at it"}})
}

// stands returns what the decisions amount to, and the request as it is kept.
func stands(ctx context.Context, request *v1alpha1.ApprovalRequest) (decision.Outcome, *v1alpha1.ApprovalRequest) {
	GinkgoHelper()
	var kept v1alpha1.ApprovalRequest
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(request), &kept)).To(Succeed())
	return decision.Evaluate(&kept, decisionKey, time.Now()), &kept
}

// robot is a service account with a real token, and whatever an approver may do.
func robot(ctx context.Context, namespace string) client.Client {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: namespace}}
	token := &authenticationv1.TokenRequest{}
	Expect(admin.SubResource("token").Create(ctx, account, token)).To(Succeed())
	bind(ctx, namespace, "chaperone-approver", "system:serviceaccount:"+namespace+":default", false)
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token.Status.Token
	return clientFor(config)
}
