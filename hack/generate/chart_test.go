package main

import (
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	tests := map[string]struct {
		chart    chart
		manifest string
		want     []string
		wantNot  []string
	}{
		"an object goes to the release's namespace and carries the chart's labels": {
			manifest: "kind: Service\nmetadata:\n  name: a\n  namespace: chaperone-system\n  labels: {own: label}\n",
			want:     []string{"namespace: {{ .Release.Namespace }}", `{{- include "chaperone.labels" . | nindent 4 }}`, "own: label"},
			wantNot:  []string{"chaperone-system", labelsMark, "{{- if"},
		},
		"every document of a manifest is rendered and empty ones are not": {
			manifest: "---\n# nothing\n---\nkind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n",
			want:     []string{"---\nkind: A", "---\nkind: B"},
		},
		"a condition surrounds all objects": {
			chart:    chart{condition: ".Values.crds.install"},
			manifest: "kind: A\nmetadata: {name: a}\n",
			want:     []string{"{{- if .Values.crds.install }}\n---\nkind: A", "{{- end }}\n"},
		},
		"template syntax in a description stays text": {
			manifest: "kind: A\nmetadata: {name: a}\nspec: {description: 'write {{ .Name }}'}\n",
			want:     []string{`write {{ "{{" }} .Name }}`},
		},
		"annotations are added to those that the object has": {
			chart:    chart{annotations: map[string]string{"helm.sh/resource-policy": "keep"}},
			manifest: "kind: A\nmetadata: {name: a, annotations: {x: z}}\n",
			want:     []string{"helm.sh/resource-policy: keep", "x: z"},
		},
		"a webhook whose scope is the operator's keeps the live one": {
			manifest: `kind: ValidatingWebhookConfiguration
metadata: {name: chaperone}
webhooks:
- name: pods.chaperone.dev
  namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: DoesNotExist}]}
- name: policies.chaperone.dev
`,
			want: []string{
				`{{- include "chaperone.scope" (dict "kind" "ValidatingWebhookConfiguration" "webhook" "pods.chaperone.dev" "initial" (replace "chaperone-system" .Release.Namespace `,
				`"operator":"DoesNotExist"`,
			},
			wantNot: []string{selectorMark, `"webhook" "policies.chaperone.dev"`},
		},
		"a webhook with a scope of its own has it": {
			manifest: `kind: MutatingWebhookConfiguration
metadata: {name: chaperone}
webhooks:
- name: pods.chaperone.dev
  namespaceSelector: {matchLabels: {own: label}}
`,
			want:    []string{"own: label"},
			wantNot: []string{"chaperone.scope"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.chart.render([]byte(tt.manifest))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(got), want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for _, not := range tt.wantNot {
				if strings.Contains(string(got), not) {
					t.Errorf("holds %q:\n%s", not, got)
				}
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := map[string]string{
		"what is not YAML":           "kind: [",
		"a key given twice":          "kind: A\nkind: B\nmetadata: {name: a}\n",
		"an object without metadata": "kind: A\n",
	}
	for name, manifest := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := (chart{}).render([]byte(manifest)); err == nil {
				t.Errorf("rendered:\n%s", got)
			}
		})
	}
}
