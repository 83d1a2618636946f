package inject

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestGraft: an API server newer than this program has fields that decoding drops.
func TestGraft(t *testing.T) {
	raw := `{"metadata":{"creationTimestamp":null,"name":"p"},"spec":{"fromTheFuture":1,"containers":[
		{"name":"a","image":"x","fromTheFuture":{"b":true},"volumeMounts":[{"name":"v","mountPath":"/v","fromTheFuture":2}],"args":["1"]},
		{"name":"gone","image":"x"}],
		"tolerations":[{"key":"k","fromTheFuture":3}]}}`
	var before corev1.Pod
	if err := json.Unmarshal([]byte(raw), &before); err != nil {
		t.Fatal(err)
	}
	after := before.DeepCopy()
	after.Spec.Containers = []corev1.Container{{Name: "new", Image: "y"}, after.Spec.Containers[0]}
	after.Spec.Containers[1].Args = []string{"2"}
	after.Labels = map[string]string{"l": "1"}
	got, err := graft([]byte(raw), &before, after)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"creationTimestamp":null,"name":"p","labels":{"l":"1"}},"spec":{"fromTheFuture":1,"containers":[
		{"name":"new","image":"y","resources":{}},
		{"name":"a","image":"x","fromTheFuture":{"b":true},"volumeMounts":[{"name":"v","mountPath":"/v","fromTheFuture":2}],"args":["2"]}],
		"tolerations":[{"key":"k","fromTheFuture":3}]}}`
	var gotTree, wantTree any
	for body, into := range map[string]*any{string(got): &gotTree, want: &wantTree} {
		if err := json.Unmarshal([]byte(body), into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(wantTree, gotTree); diff != "" {
		t.Error(diff)
	}
}
