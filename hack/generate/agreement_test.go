package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// TestHelmAndKustomizeInstallTheSame renders both and compares them object by object.
func TestHelmAndKustomizeInstallTheSame(t *testing.T) {
	chart := objects(t, helm(t, namespace))
	config := objects(t, tool(t, "kustomize", "build", filepath.Join(root(t), "config", "default")))
	// The chart leaves its namespace to helm install --create-namespace.
	delete(config, "v1/Namespace//chaperone-system")

	for _, key := range slices.Sorted(maps.Keys(config)) {
		if _, ok := chart[key]; !ok {
			t.Errorf("%s is in config/ and not in the chart", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(chart)) {
		want, ok := config[key]
		if !ok {
			t.Errorf("%s is in the chart and not in config/", key)
			continue
		}
		if chart[key] != want {
			t.Errorf("%s differs:\n%s", key, firstDifference(chart[key], want))
		}
	}
}

// TestWebhooksReachAService checks that what the API server is told to call is there.
func TestWebhooksReachAService(t *testing.T) {
	chart := objects(t, helm(t, namespace))
	services := regexp.MustCompile(`"service": \{\s*"name": "([^"]+)",\s*"namespace": "([^"]+)"`)
	checked := 0
	for key, object := range chart {
		for _, match := range services.FindAllStringSubmatch(object, -1) {
			checked++
			if _, ok := chart["v1/Service/"+match[2]+"/"+match[1]]; !ok {
				t.Errorf("%s calls service %s/%s, which is not in the chart", key, match[2], match[1])
			}
		}
	}
	if checked < 3 {
		t.Errorf("found %d references to services, fewer than there are kinds of them", checked)
	}
}

// root is the repository's.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tool runs a tool that is pinned under hack/tools and returns its standard output.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := runTool(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func runTool(t *testing.T, name string, args ...string) ([]byte, error) {
	t.Helper()
	program, err := pinned(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, complaint.String())
	}
	return out.Bytes(), nil
}

var (
	programsMu sync.Mutex // guards programs
	programs   = map[string]string{}
)

// pinned is where the go command keeps a tool of hack/tools, built if it was not.
func pinned(name string) (string, error) {
	programsMu.Lock()
	defer programsMu.Unlock()
	if program, ok := programs[name]; ok {
		return program, nil
	}
	out, err := exec.Command("go", "-C", filepath.Join("..", "tools", name), "tool", "-n", name).Output()
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	programs[name] = strings.TrimSpace(string(out))
	return programs[name], nil
}

func helm(t *testing.T, namespace string, args ...string) []byte {
	t.Helper()
	return tool(t, "helm", append([]string{"template", "chaperone", filepath.Join(root(t), "charts", "chaperone"), "--namespace", namespace}, args...)...)
}

// objects maps each object's identity to its JSON, without what says only who installed it.
func objects(t *testing.T, manifests []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		object := map[string]any{}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(object) == 0 {
			continue
		}
		metadata := object["metadata"].(map[string]any)
		strip(metadata, "labels", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart")
		strip(metadata, "annotations", "helm.sh/resource-policy")
		key := fmt.Sprintf("%v/%v/%s/%v", object["apiVersion"], object["kind"], text(metadata["namespace"]), metadata["name"])
		if _, twice := found[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		rendered, err := json.MarshalIndent(object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		found[key] = string(rendered)
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func strip(metadata map[string]any, field string, keys ...string) {
	values, _ := metadata[field].(map[string]any)
	for _, key := range keys {
		delete(values, key)
	}
	if len(values) == 0 {
		delete(metadata, field)
	}
}

// firstDifference shows the first line in which two texts differ, and what leads to it.
func firstDifference(chart, config string) string {
	a, b := strings.Split(chart, "\n"), strings.Split(config, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s\nchart:  %s\nconfig: %s", strings.Join(a[max(0, i-6):i], "\n"), a[i], b[i])
		}
	}
	return "one is longer than the other"
}
