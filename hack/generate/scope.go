package main

import "reflect"

// nowhere is the selector that the scoped webhooks ship with: the API server labels every namespace with its
// name, so no namespace lacks the label. The operator widens it to the namespaces that hold a policy.
var nowhere = map[string]any{
	"matchExpressions": []any{
		map[string]any{"key": "kubernetes.io/metadata.name", "operator": "DoesNotExist"},
	},
}

// markSelectors marks the webhooks whose scope belongs to the operator and returns their names in order. The
// chart renders their live scope on an upgrade: back at "nowhere", pods would start unprotected until the
// operator has seen it.
func markSelectors(object map[string]any) []string {
	webhooks, _ := object["webhooks"].([]any)
	var names []string
	for _, entry := range webhooks {
		webhook, _ := entry.(map[string]any)
		if reflect.DeepEqual(webhook["namespaceSelector"], nowhere) {
			webhook["namespaceSelector"] = selectorMark
			name, _ := webhook["name"].(string)
			names = append(names, name)
		}
	}
	return names
}
