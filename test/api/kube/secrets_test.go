package kube_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/kube/secret"
)

const (
	value  = "correct-horse-battery-staple"
	stored = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ=="
)

// makeSecret makes one as kubectl apply does: its values also stand in an annotation.
func makeSecret(t testing.TB, name string) {
	t.Helper()
	secrets := server.Client.CoreV1().Secrets(namespace)
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: `{"apiVersion":"v1","data":{"password":"` + stored + `"},"kind":"Secret","metadata":{"annotations":{},"name":"` + name + `","namespace":"shop"}}`,
			"team.example/note":                `the password is not here`,
		}},
		Data: map[string][]byte{"password": []byte(value), "user": []byte("billing")},
	}
	if _, err := secrets.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = secrets.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

func leaks(text string) bool {
	return strings.Contains(text, value) || strings.Contains(text, stored) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("billing")))
}

func TestSecretsShowNoValues(t *testing.T) {
	makeSecret(t, "db")
	s := front(t, allowing())
	accepts := map[string]string{
		"json": "application/json", "protobuf": "application/vnd.kubernetes.protobuf", "cbor": "application/cbor", "yaml": "application/yaml",
		"protobuf before json": "application/vnd.kubernetes.protobuf,application/json", "nothing": "", "anything": "*/*",
		"table":                "application/json;as=Table;v=v1;g=meta.k8s.io",
		"a table in protobuf":  "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
		"metadata":             "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
		"metadata in a list":   "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
		"capitals":             "APPLICATION/VND.KUBERNETES.PROTOBUF",
		"a stream of protobuf": "application/vnd.kubernetes.protobuf;stream=watch",
	}
	targets := map[string]string{
		"get": "/api/v1/namespaces/shop/secrets/db", "list": "/api/v1/namespaces/shop/secrets", "list everywhere": "/api/v1/secrets",
		"with the object":   "/api/v1/namespaces/shop/secrets?includeObject=Object",
		"watch":             "/api/v1/namespaces/shop/secrets?watch=1&timeoutSeconds=1",
		"watch of a table":  "/api/v1/namespaces/shop/secrets?watch=1&timeoutSeconds=1&includeObject=Object",
		"watch by path":     "/api/v1/watch/namespaces/shop/secrets?timeoutSeconds=1",
		"watch one by path": "/api/v1/watch/namespaces/shop/secrets/db?timeoutSeconds=1",
		"pretty":            "/api/v1/namespaces/shop/secrets/db?pretty=true",
	}
	for what, target := range targets {
		for how, accept := range accepts {
			t.Run(what+" as "+how, func(t *testing.T) {
				t.Parallel()
				header := http.Header{"Accept-Encoding": {"gzip"}}
				if accept != "" {
					header.Set("Accept", accept)
				}
				answer := get(t, s, target, header)
				defer answer.Body.Close()
				body, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				if leaks(string(body)) || answer.Header.Get("Content-Encoding") != "" || strings.Contains(string(body), "k8s\x00") {
					t.Errorf("%s: %s", answer.Header.Get("Content-Type"), body)
				}
				if answer.StatusCode == http.StatusOK && how != "metadata in a list" && !strings.Contains(string(body), `"db"`) {
					t.Errorf("the Secret is not in the answer: %s", body)
				}
			})
		}
	}
}

func TestKubectlShowsSecretsWithoutTheirValues(t *testing.T) {
	makeSecret(t, "shown")
	s := front(t, allowing())
	for _, args := range [][]string{
		{"get", "secret", "shown", "-o", "yaml"}, {"get", "secrets", "-o", "json"}, {"get", "secret", "shown"}, {"describe", "secret", "shown"},
		{"get", "secret", "shown", "-o", "jsonpath={.data}"}, {"get", "secret", "shown", "-o", "yaml", "--show-managed-fields"},
		{"label", "secret", "shown", "a=b", "--overwrite", "-o", "yaml"}, {"annotate", "secret", "shown", "a=c", "--overwrite", "-o", "json"},
	} {
		got := kubectl(t, s, args...)
		if got.code != 0 || leaks(got.stdout+got.stderr) || !strings.Contains(got.stdout, "shown") && args[len(args)-1] != "jsonpath={.data}" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	got := kubectl(t, s, "get", "secret", "shown", "-o", "go-template={{.data.password | base64decode}}")
	if got.stdout != secret.Text {
		t.Errorf("%+v", got)
	}
}

func TestAWriteWithMaskTextIsRefused(t *testing.T) {
	makeSecret(t, "rewritten")
	s := front(t, allowing())
	read := kubectl(t, s, "get", "secret", "rewritten", "-o", "yaml")
	for _, args := range [][]string{{"replace", "-f", "-"}, {"apply", "-f", "-"}, {"apply", "--server-side", "--force-conflicts", "-f", "-"}} {
		got := kubectlWith(t, s, read.stdout, args...)
		if got.code == 0 || !strings.Contains(got.stderr, "Chaperone masked a value") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	now, err := server.Client.CoreV1().Secrets(namespace).Get(t.Context(), "rewritten", metav1.GetOptions{})
	if err != nil || string(now.Data["password"]) != value {
		t.Errorf("%v: %q", err, now.Data)
	}
	// What does not bring it back is written.
	got := kubectl(t, s, "patch", "secret", "rewritten", "-p", `{"stringData":{"password":"new"}}`)
	if got.code != 0 {
		t.Errorf("%+v", got)
	}
	manifest := "apiVersion: v1\nkind: Secret\nmetadata: {name: rewritten, namespace: shop}\nstringData: {password: newer}\n"
	if got := kubectlWith(t, s, manifest, "apply", "-f", "-"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	now, err = server.Client.CoreV1().Secrets(namespace).Get(t.Context(), "rewritten", metav1.GetOptions{})
	if err != nil || string(now.Data["password"]) != "newer" {
		t.Errorf("%v: %q", err, now.Data)
	}
}
