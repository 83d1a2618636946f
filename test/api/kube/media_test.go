package kube_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/chaperone-dev/chaperone/sidecar/kube/secret"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// media are what objects are written in, by the names that requests have for it.
var media = map[string]runtime.Encoder{
	"application/json":                    json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{}),
	"application/yaml":                    json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true}),
	"application/vnd.kubernetes.protobuf": protobuf.NewSerializer(scheme.Scheme, scheme.Scheme),
	"application/cbor":                    cbor.NewSerializer(scheme.Scheme, scheme.Scheme),
}

func written(t testing.TB, as string, object runtime.Object) string {
	t.Helper()
	var b bytes.Buffer
	if err := media[as].Encode(object, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// send asks as an agent, with a body, and returns the answer and all of its body.
func send(t testing.TB, over http.RoundTripper, s *kubeserver.Sidecar, method, target, contentType, accept, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.Address()+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {contentType}, "Accept": {accept}}
	answer, err := over.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

var (
	object = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	binary = []string{"application/vnd.kubernetes.protobuf", "application/cbor", "application/cbor-seq", "application/vnd.kubernetes.protobuf, application/json"}
)

func TestAnswersToWritesOfSecretsShowNoValuesInAnyMediaType(t *testing.T) {
	makeSecret(t, "answered")
	s := front(t, allowing())
	over := transport(t, s)
	const one = "/api/v1/namespaces/shop/secrets/answered"
	whole := &corev1.Secret{TypeMeta: object, ObjectMeta: metav1.ObjectMeta{Name: "answered"}, Data: map[string][]byte{"password": []byte(value)}}
	fresh := &corev1.Secret{TypeMeta: object, ObjectMeta: metav1.ObjectMeta{Name: "fresh"}, Data: map[string][]byte{"password": []byte(value)}}
	for _, accept := range binary {
		for as := range media {
			for _, c := range []struct {
				method, target, contentType, body string
			}{
				{http.MethodPut, one + "?dryRun=All", as, written(t, as, whole)},
				{http.MethodPost, "/api/v1/namespaces/shop/secrets?dryRun=All", as, written(t, as, fresh)},
				{http.MethodPatch, one, "application/merge-patch+json", `{"metadata":{"labels":{"a":"b"}}}`},
				{http.MethodPatch, one + "?fieldManager=agent&force=true", "application/apply-patch+yaml", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"answered","labels":{"c":"d"}}}`},
				{http.MethodDelete, one, "application/json", `{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"],"propagationPolicy":"Foreground"}`},
			} {
				answer, text := send(t, over, s, c.method, c.target, c.contentType, accept, c.body)
				name := fmt.Sprintf("%s %s in %s, answered in %s", c.method, c.target, c.contentType, accept)
				if leaks(text) || strings.Contains(text, "k8s\x00") || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s %q", name, answer.Status, text)
				}
				// An API server takes CBOR only where its feature is on.
				if answer.StatusCode/100 != 2 && (c.contentType != "application/cbor" || answer.StatusCode != http.StatusUnsupportedMediaType) {
					t.Errorf("%s: %s %s", name, answer.Status, text)
				}
			}
		}
	}
}

func TestMaskTextIsRefusedInEveryMediaType(t *testing.T) {
	makeSecret(t, "masked")
	s := front(t, allowing())
	over := transport(t, s)
	for as := range media {
		for what, one := range map[string]*corev1.Secret{
			"data":       {TypeMeta: object, ObjectMeta: metav1.ObjectMeta{Name: "masked"}, Data: map[string][]byte{"password": []byte(secret.Text)}},
			"stringData": {TypeMeta: object, ObjectMeta: metav1.ObjectMeta{Name: "masked"}, StringData: map[string]string{"password": secret.Text}},
		} {
			answer, text := send(t, over, s, http.MethodPut, "/api/v1/namespaces/shop/secrets/masked", as, "application/json", written(t, as, one))
			if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "Chaperone masked a value") {
				t.Errorf("%s in %s: %s %s", what, as, answer.Status, text)
			}
		}
	}
	now, err := server.Client.CoreV1().Secrets(namespace).Get(t.Context(), "masked", metav1.GetOptions{})
	if err != nil || string(now.Data["password"]) != value {
		t.Errorf("%v: %q", err, now.Data)
	}
}

func TestRulesHoldInEveryMediaType(t *testing.T) {
	configMap(t, "ruled")
	s := front(t, allowing(
		policy.Rule{Name: "no-configmaps", Action: policy.Deny, Match: policy.Match{Resources: []string{"configmaps"}}},
		policy.Rule{Name: "no-aggregated", Action: policy.Deny, Match: policy.Match{APIGroups: []string{"metrics.k8s.io"}, Resources: []string{"*"}}},
	))
	over := transport(t, s)
	red := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "ruled"}, Data: map[string]string{"colour": "red"}}
	for as := range media {
		for _, accept := range append(binary, as) {
			for _, c := range []struct{ method, target string }{
				{http.MethodPut, "/api/v1/namespaces/shop/configmaps/ruled"}, {http.MethodGet, "/api/v1/namespaces/shop/configmaps/ruled"},
				{http.MethodGet, "/api/v1/namespaces/shop/configmaps?watch=1&timeoutSeconds=1"}, {http.MethodGet, "/api/v1/watch/configmaps?timeoutSeconds=1"},
				{http.MethodGet, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"}, {http.MethodPost, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"},
				{http.MethodGet, "/apis/metrics.k8s.io/v1beta1/pods?watch=1"},
			} {
				body := ""
				if c.method != http.MethodGet {
					body = written(t, as, red)
				}
				answer, text := send(t, over, s, c.method, c.target, as, accept, body)
				if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "refused by Chaperone") || answer.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s in %s, answered in %s: %s %q", c.method, c.target, as, accept, answer.Status, text)
				}
			}
		}
	}
	now, err := server.Client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "ruled", metav1.GetOptions{})
	if err != nil || now.Data["colour"] != "blue" {
		t.Errorf("%v: %q", err, now.Data)
	}
}
