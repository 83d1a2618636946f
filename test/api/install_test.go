package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// install creates every object of these manifests below config/, webhooks pointed at the suite's server.
func install(ctx context.Context, files ...string) {
	GinkgoHelper()
	for _, file := range files {
		body, err := os.ReadFile(filepath.Join(configDir, file))
		Expect(err).NotTo(HaveOccurred(), "`make generate` writes it")
		decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(body), 4096)
		for {
			var object unstructured.Unstructured
			if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
				break
			} else {
				Expect(err).NotTo(HaveOccurred(), file)
			}
			if len(object.Object) > 0 {
				Expect(admin.Create(ctx, local(&object))).To(Succeed(), file)
			}
		}
	}
}

// local points webhooks at the suite's server, as an object of its own type.
func local(object *unstructured.Unstructured) client.Object {
	GinkgoHelper()
	into := runtime.DefaultUnstructuredConverter.FromUnstructured
	switch object.GetKind() {
	case "MutatingWebhookConfiguration":
		var c admissionregistrationv1.MutatingWebhookConfiguration
		Expect(into(object.Object, &c)).To(Succeed())
		for i := range c.Webhooks {
			here(&c.Webhooks[i].ClientConfig)
		}
		return &c
	case "ValidatingWebhookConfiguration":
		var c admissionregistrationv1.ValidatingWebhookConfiguration
		Expect(into(object.Object, &c)).To(Succeed())
		for i := range c.Webhooks {
			here(&c.Webhooks[i].ClientConfig)
		}
		return &c
	}
	return object
}

func here(c *admissionregistrationv1.WebhookClientConfig) {
	options := env.WebhookInstallOptions
	c.URL = ptr.To(fmt.Sprintf("https://%s%s",
		net.JoinHostPort(options.LocalServingHost, strconv.Itoa(options.LocalServingPort)), *c.Service.Path))
	c.Service = nil
	c.CABundle = options.LocalServingCAData
}

// newNamespace makes a namespace with the service account that the controller manager would make.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agents-"}}
	Expect(admin.Create(ctx, ns)).To(Succeed())
	Expect(admin.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns.Name}})).To(Succeed())
	return ns.Name
}

// protect does what the operator does for a namespace that holds a policy: the entries that fail closed select it. It
// returns once the API server has taken that up.
func protect(ctx context.Context, namespace string) {
	GinkgoHelper()
	selector := func(old *metav1.LabelSelector) *metav1.LabelSelector {
		names := []string{namespace}
		if len(old.MatchExpressions) > 0 {
			names = append(names, old.MatchExpressions[0].Values...)
		}
		slices.Sort(names)
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: slices.Compact(names),
		}}}
	}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	Expect(admin.Get(ctx, client.ObjectKey{Name: "chaperone"}, &mutating)).To(Succeed())
	for i := range mutating.Webhooks {
		if mutating.Webhooks[i].Name == "pods.inject.chaperone.dev" {
			mutating.Webhooks[i].NamespaceSelector = selector(mutating.Webhooks[i].NamespaceSelector)
		}
	}
	Expect(admin.Update(ctx, &mutating)).To(Succeed())
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	Expect(admin.Get(ctx, client.ObjectKey{Name: "chaperone"}, &validating)).To(Succeed())
	for i := range validating.Webhooks {
		if validating.Webhooks[i].Name == "pods.guard.chaperone.dev" {
			validating.Webhooks[i].NamespaceSelector = selector(validating.Webhooks[i].NamespaceSelector)
		}
	}
	Expect(admin.Update(ctx, &validating)).To(Succeed())
	// Only the entry that fails closed is asked about updates, so a refused one shows that it is there.
	probe := plainPod(namespace)
	probe.Labels = map[string]string{"suite": "probe"}
	Expect(admin.Create(ctx, probe)).To(Succeed())
	Eventually(func(g Gomega) {
		changed := probe.DeepCopy()
		changed.Annotations = map[string]string{"chaperone.dev/injected": "by hand"}
		g.Expect(admin.Patch(ctx, changed, client.MergeFrom(probe), client.DryRunAll)).To(MatchError(ContainSubstring("chaperone guard")))
	}).WithContext(ctx).WithTimeout(20 * time.Second).WithPolling(50 * time.Millisecond).Should(Succeed())
	Expect(admin.Delete(ctx, probe, client.GracePeriodSeconds(0))).To(Succeed())
}

// backInForce returns once the API server asks the suite's webhooks again, after a spec took them away.
func backInForce(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(admin.Create(ctx, requestIn("default"), client.DryRunAll)).To(MatchError(ContainSubstring("only the chaperone operator")))
		g.Expect(admin.Create(ctx, policyIn(operatorNamespace, "probe"), client.DryRunAll)).To(MatchError(ContainSubstring("never put behind a sidecar")))
	}).WithContext(ctx).WithTimeout(20 * time.Second).WithPolling(50 * time.Millisecond).Should(Succeed())
	protectedNamespace(ctx)
}
