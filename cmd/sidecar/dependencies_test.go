package main

import (
	"os/exec"
	"strings"
	"testing"
)

// banned are packages that must not get into the sidecar, by prefix, each with its reason. It runs in every
// agent's pod: what it links, every pod pays for and every pod exposes.
var banned = map[string]string{
	"k8s.io/client-go":         "an idle process with it takes 22 MB, without it 6; the sidecar has no Kubernetes credential to use it with",
	"k8s.io/api":               "it comes with client-go's weight; the sidecar reads policies as sidecar/policy has them",
	"k8s.io/apimachinery":      "it registers schemes at start-up; nothing in the sidecar is a Kubernetes object",
	"k8s.io/apiserver":         "it is the operator's",
	"k8s.io/":                  "whatever else of Kubernetes' libraries: the sidecar speaks to the operator alone",
	"sigs.k8s.io/":             "controller-runtime and its kind are the operator's",
	"github.com/google/cel-go": "some 4 MiB of every idle sidecar, used or not; conditions are evaluated by cmd/when",
	"mvdan.cc/sh/v3/interp":    "it can be made to panic and to take memory without bound; scripts are interpreted by cmd/script",
	"cel.dev":                  "it is cel-go's",
	"gocloud.dev":              "the bucket is the operator's; a sidecar must not be able to hold its credentials",
	"github.com/onsi":          "a test library",
	"github.com/spf13/cobra":   "three fixed commands need no framework",
	"net/http/pprof":           "it registers handlers; no debugging port stands in an agent's pod",
	"expvar":                   "it registers handlers; no debugging port stands in an agent's pod",
	"plugin":                   "code that is loaded at run time cannot be reviewed",
}

func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-tags", "netgo,osusergo", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d dependencies were listed; the list cannot be right", len(deps))
	}
	for _, dep := range deps {
		for prefix, why := range banned {
			if dep == prefix || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
				t.Errorf("the sidecar depends on %s: %s", dep, why)
			}
		}
	}
}
