package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	// namespace is where config/ installs; the chart goes wherever the release goes.
	namespace = "chaperone-system"

	// labelsMark and selectorMark stand for template text while a manifest is still YAML.
	labelsMark   = "chaperone-generate-labels"
	selectorMark = "chaperone-generate-selector"
)

// chart says what the chart adds to a manifest.
type chart struct {
	// condition is the value that switches the manifest off; empty: always installed.
	condition string
	// annotations are added to every object.
	annotations map[string]string
}

// render turns every object of a manifest into template text.
func (c chart) render(manifest []byte) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("{{- /* Written by `make generate` from config/; do not edit. */ -}}\n")
	if c.condition != "" {
		fmt.Fprintf(&out, "{{- if %s }}\n", c.condition)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("splitting documents: %w", err)
		}
		text, err := c.object(document)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out.WriteString("---\n" + text)
		}
	}
	if c.condition != "" {
		out.WriteString("{{- end }}\n")
	}
	return out.Bytes(), nil
}

// object renders one object; an empty document renders to nothing.
func (c chart) object(document []byte) (string, error) {
	var object map[string]any
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return "", fmt.Errorf("parsing: %w", err)
	}
	if len(object) == 0 {
		return "", nil
	}
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return "", errors.New("an object without metadata")
	}
	labels, _ := metadata["labels"].(map[string]any)
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[labelsMark] = ""
	metadata["labels"] = labels
	c.annotate(metadata)
	scopes, err := markScopes(object)
	if err != nil {
		return "", err
	}

	rendered, err := yaml.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("writing: %w", err)
	}
	text := strings.ReplaceAll(string(rendered), "{{", `{{ "{{" }}`)
	text = strings.ReplaceAll(text, namespace, "{{ .Release.Namespace }}")
	text = strings.Replace(text, "    "+labelsMark+`: ""`, `    {{- include "chaperone.labels" . | nindent 4 }}`, 1)
	for _, scope := range scopes {
		text = strings.Replace(text, "namespaceSelector: "+selectorMark, scope.template(object["kind"]), 1)
	}
	return text, nil
}

func (c chart) annotate(metadata map[string]any) {
	if len(c.annotations) == 0 {
		return
	}
	annotations, _ := metadata["annotations"].(map[string]any)
	annotations = maps.Clone(annotations)
	if annotations == nil {
		annotations = map[string]any{}
	}
	for key, value := range c.annotations {
		annotations[key] = value
	}
	metadata["annotations"] = annotations
}
