package inject_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/webhook/inject"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Unix(1_800_000_000, 0)

func options() inject.Options {
	return inject.Options{
		Image:   "registry.example/chaperone/sidecar:v1",
		Broker:  "chaperone-broker.chaperone-system.svc:443",
		RootPEM: []byte("-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"),
		Key:     []byte("a key that only the operator has"),
		Now:     now,
		UID:     func(int64) (int64, error) { return 42, nil },
	}
}

// TestGolden injects testdata/<case>/pod.yaml under the policies of the same folder and compares with want.yaml.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/pod.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, file := range cases {
		folder := filepath.Dir(file)
		t.Run(strings.ReplaceAll(filepath.Base(folder), "-", " "), func(t *testing.T) {
			pod, policies := load(t, folder)
			got, err := inject.Inject(pod, policies, options())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(folder, "want.yaml"), got)
			again, err := inject.Inject(got, policies, options())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("injected twice:\n%s", diff)
			}
		})
	}
}

func load(t *testing.T, folder string) (*corev1.Pod, []v1alpha1.AgentPolicy) {
	t.Helper()
	pod := &corev1.Pod{}
	read(t, filepath.Join(folder, "pod.yaml"), pod)
	files, err := filepath.Glob(filepath.Join(folder, "policy*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var policies []v1alpha1.AgentPolicy
	for _, file := range files {
		var p v1alpha1.AgentPolicy
		read(t, file, &p)
		policies = append(policies, p)
	}
	return pod, policies
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(body, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func golden(t *testing.T, file string, got *corev1.Pod) {
	t.Helper()
	body, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, body, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(body)); diff != "" {
		t.Errorf("%s (-want +got, go test ./webhook/inject -update writes it):\n%s", file, diff)
	}
}
