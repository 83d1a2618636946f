package scope

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func rules(group, resource string) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{Rule: admissionv1.Rule{APIGroups: []string{group}, Resources: []string{resource}}}}
}

func policyIn(namespace string) client.Object {
	return &v1alpha1.AgentPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p"}}
}

func TestReconcile(t *testing.T) {
	fail, ignore := ptr.To(admissionv1.Fail), ptr.To(admissionv1.Ignore)
	for name, test := range map[string]struct {
		policies []client.Object
		// selected says which of these namespaces the webhook that fails closed covers.
		selected map[string]bool
	}{
		"without a policy it fails closed nowhere": {
			selected: map[string]bool{"agents": false, "kube-system": false, "": false}},
		"it fails closed where a policy is": {
			policies: []client.Object{policyIn("agents"), policyIn("billing")},
			selected: map[string]bool{"agents": true, "billing": true, "other": false, "kube-system": false}},
		"a policy in an exempt namespace does not count": {
			policies: []client.Object{policyIn("kube-system"), policyIn("chaperone-system"), policyIn("agents")},
			selected: map[string]bool{"agents": true, "kube-system": false, "chaperone-system": false}},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, admissionv1.AddToScheme, apiregistrationv1.AddToScheme} {
				if err := add(scheme); err != nil {
					t.Fatal(err)
				}
			}
			stale := &metav1.LabelSelector{MatchLabels: map[string]string{"somebody": "changed-it"}}
			objects := append(test.policies,
				&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "chaperone"}, Webhooks: []admissionv1.MutatingWebhook{
					{Name: "closed", Rules: rules("", "pods"), FailurePolicy: fail, NamespaceSelector: stale},
					{Name: "elsewhere", Rules: rules("", "pods"), FailurePolicy: ignore, NamespaceSelector: stale},
					{Name: "approvals", Rules: rules("chaperone.dev", "approvalrequests"), FailurePolicy: fail},
				}},
				&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "chaperone"}, Webhooks: []admissionv1.ValidatingWebhook{
					{Name: "closed", Rules: rules("", "pods"), NamespaceSelector: stale}, // the default is Fail
				}},
				&apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1.logs.chaperone.dev"}})
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
			r := &Reconciler{Client: c, Options: Options{
				Configurations: "chaperone", APIService: "v1alpha1.logs.chaperone.dev",
				Exempt: []string{"kube-system", "chaperone-system"}, Roots: func() []byte { return []byte("root") },
			}}
			if _, err := r.Reconcile(t.Context(), reconcile.Request{}); err != nil {
				t.Fatal(err)
			}

			mutating := &admissionv1.MutatingWebhookConfiguration{}
			validating := &admissionv1.ValidatingWebhookConfiguration{}
			service := &apiregistrationv1.APIService{}
			for key, into := range map[string]client.Object{"chaperone": mutating, "v1alpha1.logs.chaperone.dev": service} {
				if err := c.Get(t.Context(), types.NamespacedName{Name: key}, into); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Get(t.Context(), types.NamespacedName{Name: "chaperone"}, validating); err != nil {
				t.Fatal(err)
			}
			for namespace, want := range test.selected {
				for which, s := range map[string]*metav1.LabelSelector{"mutating": mutating.Webhooks[0].NamespaceSelector, "validating": validating.Webhooks[0].NamespaceSelector} {
					if got := covers(t, s, namespace); got != want {
						t.Errorf("the %s webhook that fails closed covers %q: %t, want %t", which, namespace, got, want)
					}
				}
				exempt := namespace == "kube-system" || namespace == "chaperone-system"
				if got := covers(t, mutating.Webhooks[1].NamespaceSelector, namespace); got == exempt {
					t.Errorf("the webhook for all others covers %q: %t", namespace, got)
				}
			}
			if s := mutating.Webhooks[2].NamespaceSelector; s != nil {
				t.Errorf("the webhook on approvals was given a selector: %v", s)
			}
			for i := range mutating.Webhooks {
				if string(mutating.Webhooks[i].ClientConfig.CABundle) != "root" {
					t.Errorf("webhook %s has no bundle", mutating.Webhooks[i].Name)
				}
			}
			if string(service.Spec.CABundle) != "root" {
				t.Error("the APIService has no bundle")
			}
		})
	}
}

func covers(t *testing.T, s *metav1.LabelSelector, namespace string) bool {
	t.Helper()
	parsed, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Matches(labels.Set{corev1.LabelMetadataName: namespace})
}
