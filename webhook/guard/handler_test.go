package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/webhook/guard"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// away is an API server that does not answer.
type away struct{ client.Reader }

func (away) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the API server is away")
}

// TestFaultsOfOurs: where policies cannot be read, the entry for namespaces that hold one fails closed, and the entry
// for all others lets the pod through.
func TestFaultsOfOurs(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lookup := selection.Lookup{Cache: away{}, Live: away{}}
	exempt := func(namespace string) bool { return namespace == "kube-system" }
	decoder := admission.NewDecoder(scheme)
	handlers := map[string]func(open bool) admission.Handler{
		"injection": func(open bool) admission.Handler {
			return &inject.Handler{Lookup: lookup, Options: func() inject.Options { return inject.Options{} }, Exempt: exempt, Open: open, Decoder: decoder}
		},
		"guard": func(open bool) admission.Handler {
			return &guard.Handler{Lookup: lookup, Live: away{}, Key: func() []byte { return key }, Exempt: exempt, Open: open, Decoder: decoder}
		},
	}
	pod, err := json.Marshal(&corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, handler := range handlers {
		ask := func(namespace string, open bool) admission.Response {
			return handler(open).Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Create, Namespace: namespace, Object: runtime.RawExtension{Raw: pod},
			}})
		}
		t.Run(name+" fails closed where a policy is known to be", func(t *testing.T) {
			if r := ask("agents", false); r.Allowed {
				t.Error("let through")
			}
		})
		t.Run(name+" fails open elsewhere, with a warning", func(t *testing.T) {
			if r := ask("agents", true); !r.Allowed || len(r.Warnings) != 1 {
				t.Errorf("got %+v", r)
			}
		})
		t.Run(name+" asks nothing about exempt namespaces", func(t *testing.T) {
			if r := ask("kube-system", false); !r.Allowed || len(r.Patches) != 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}
