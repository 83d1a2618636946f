package main

import (
	"fmt"
	"path/filepath"
	"slices"
)

// generatedDir holds nothing but generated templates; it is removed and written anew.
const generatedDir = "charts/chaperone/templates/generated"

// source is a set of manifests under config/ and what the chart makes of them.
type source struct {
	glob  string // below the repository's root
	to    string // below generatedDir
	chart chart
}

var sources = []source{
	{"config/crd/bases/*.yaml", "crd", chart{
		condition: ".Values.crds.install",
		// An uninstalled release must not take every policy and approval of the cluster with it.
		annotations: map[string]string{"helm.sh/resource-policy": "keep"},
	}},
	{"config/rbac/*.yaml", "rbac", chart{}},
	{"config/service/*.yaml", "service", chart{}},
	{"config/logs/*.yaml", "logs", chart{}},
	{"config/webhook/*.yaml", "webhook", chart{}},
	{"config/admission/*.yaml", "admission", chart{condition: ".Values.admissionPolicies.install"}},
}

// files lists the manifests of a source; kustomize's own files are not manifests. A source without manifests is
// a mistake in the path.
func (s source) files(root string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, s.glob))
	if err != nil {
		return nil, err
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return filepath.Base(p) == "kustomization.yaml" })
	if len(paths) == 0 {
		return nil, fmt.Errorf("no manifest matches %s", s.glob)
	}
	return paths, nil
}
