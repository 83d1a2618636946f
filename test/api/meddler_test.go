package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// meddlers are other people's mutating webhooks, by what they do to an object.
var meddlers = map[string]func(object map[string]any){
	"/meddle-init-first": func(pod map[string]any) {
		spec := pod["spec"].(map[string]any)
		list, _ := spec["initContainers"].([]any)
		for _, c := range list {
			if c.(map[string]any)["name"] == "mesh-init" {
				return
			}
		}
		spec["initContainers"] = append([]any{map[string]any{"name": "mesh-init", "image": "registry.example/mesh:1"}}, list...)
	},
	"/meddle-sidecar-env": func(pod map[string]any) {
		list, _ := pod["spec"].(map[string]any)["initContainers"].([]any)
		for _, c := range list {
			if container := c.(map[string]any); container["name"] == "chaperone" {
				env, _ := container["env"].([]any)
				container["env"] = append(env, map[string]any{"name": "GODEBUG", "value": "x"})
			}
		}
	},
	"/meddle-label": func(pod map[string]any) {
		labels := pod["metadata"].(map[string]any)["labels"].(map[string]any)
		labels["mesh"] = "on"
	},
	"/meddle-decisions": func(request map[string]any) {
		spec := request["spec"].(map[string]any)
		list, _ := spec["decisions"].([]any)
		spec["decisions"] = append(list, map[string]any{
			"verdict": "Approve", "user": "ghost", "time": "2026-01-01T00:00:00Z", "mac": "00",
		})
	},
	"/meddle-touch": func(request map[string]any) {
		meta := request["metadata"].(map[string]any)
		annotations, _ := meta["annotations"].(map[string]any)
		if annotations == nil {
			annotations = map[string]any{}
		}
		annotations["example.com/touched"] = "yes"
		meta["annotations"] = annotations
	},
}

// met holds which meddler was at work in which namespace, so that a spec knows that it saw one.
var met sync.Map

func atWork(path, namespace string) bool {
	_, ok := met.Load(path + " in " + namespace)
	return ok
}

func registerMeddlers(server ctrlwebhook.Server) {
	for path, meddle := range meddlers {
		server.Register(path, &admission.Webhook{Handler: admission.HandlerFunc(func(_ context.Context, req admission.Request) admission.Response {
			var object map[string]any
			if err := json.Unmarshal(req.Object.Raw, &object); err != nil {
				return admission.Errored(http.StatusBadRequest, err)
			}
			meddle(object)
			met.Store(path+" in "+req.Namespace, true)
			body, err := json.Marshal(object)
			if err != nil {
				return admission.Errored(http.StatusInternalServerError, err)
			}
			return admission.PatchResponseFromRaw(req.Object.Raw, body)
		})})
	}
}

// meddle lets one of the meddlers at a resource of one namespace, under a name that decides whether it runs before
// (a...) or after (z...) our own, until the spec is over.
func meddle(ctx context.Context, name, path, namespace string, rule admissionregistrationv1.Rule, operation admissionregistrationv1.OperationType, change ...func(*admissionregistrationv1.MutatingWebhook)) {
	GinkgoHelper()
	config := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-" + namespace},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    name + ".example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Path: ptr.To(path)}},
			Rules:                   []admissionregistrationv1.RuleWithOperations{{Rule: rule, Operations: []admissionregistrationv1.OperationType{operation}}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	here(&config.Webhooks[0].ClientConfig)
	for _, c := range change {
		c(&config.Webhooks[0])
	}
	Expect(admin.Create(ctx, config)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(admin.Delete(ctx, config))).To(Succeed()) })
}

// again makes a meddler one that is called again after others changed the object.
func again(w *admissionregistrationv1.MutatingWebhook) {
	w.ReinvocationPolicy = ptr.To(admissionregistrationv1.IfNeededReinvocationPolicy)
}

var (
	pods     = admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}
	requests = admissionregistrationv1.Rule{APIGroups: []string{"chaperone.dev"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"approvalrequests"}}
)
