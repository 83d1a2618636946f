package main

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

func TestTheCasesAndListsOfAllSuitesCanBeRead(t *testing.T) {
	names := make(map[string]bool)
	for _, file := range caseNames {
		scripts, err := readCases(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, s := range scripts {
			if names[s.name] {
				t.Errorf("%s: the case %q stands in two files", file, s.name)
			}
			names[s.name] = true
		}
	}
	for _, s := range suites {
		if _, err := difference.Read(lists, s.name); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestParseCases(t *testing.T) {
	tests := map[string]struct {
		text, want string
	}{
		"two cases":                       {"# all\n== a\none\ntwo\n\n== b (session)\nthree\n", ""},
		"a line before the first case":    {"one\n== a\ntwo\n", "is in no case"},
		"a case without a command":        {"== a\n== b\none\n", "does nothing"},
		"the same name twice":             {"== a\none\n== a\ntwo\n", "stands twice"},
		"a name that a list could not do": {"== a: b\none\n", "colon"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			scripts, err := parseCases(tc.text)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want == "":
				if len(scripts) != 2 || scripts[0].text != "one\ntwo\n" || scripts[0].session || !scripts[1].session {
					t.Errorf("%+v", scripts)
				}
			case err == nil || !strings.Contains(err.Error(), tc.want):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNormaliseKeepsWhatIsSaid(t *testing.T) {
	at := &side{namespace: "conformance-past", folder: "/tmp/x/past", config: &rest.Config{Host: "https://10.1.2.3:6443"}}
	tests := map[string][2]string{
		"ages":               {"web  1/1     Running   0          3m12s\n", "web  1/1  Running  0  AGE\n"},
		"numbers are no age": {"replicas: 3\n", "replicas: 3\n"},
		"an exit code":       {"2> command terminated with exit code 7\n", "2> command terminated with exit code 7\n"},
		"times":              {"creationTimestamp: \"2026-11-26T01:02:03Z\"\n", "creationTimestamp: \"TIME\"\n"},
		"the namespace":      {"pods \"x\" not found in namespace \"conformance-past\"\n", "pods \"x\" not found in namespace \"NAMESPACE\"\n"},
		"hashes of pods":     {"pod/web-5d9c7b8f4d-x2x4z\n", "pod/web-HASH\n"},
		"a version":          {"  resourceVersion: \"123\"\n", "  resourceVersion: RV\n"},
		"the server":         {"running at https://10.1.2.3:6443\n", "running at https://SERVER\n"},
		"klog's header":      {"2> W1126 01:24:23.544200   19047 prune.go:71] Deprecated\n", "2> W prune.go:71] Deprecated\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := at.normalise(tc[0]); got != tc[1] {
				t.Errorf("got %q, want %q", got, tc[1])
			}
		})
	}
}
