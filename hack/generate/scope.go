package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// nameLabel is on every namespace, written by the API server, so that no tenant can edit it. Webhooks that select
// by it have their scope kept by the operator; others are none of its business.
const nameLabel = "kubernetes.io/metadata.name"

// scoped is a webhook whose scope belongs to the operator.
type scoped struct {
	name string
	// initial is its scope before the operator has been there, as JSON.
	initial string
}

// markScopes takes the operator's scopes out of a webhook configuration, leaves selectorMark in their places and
// returns them in order.
func markScopes(object map[string]any) ([]scoped, error) {
	webhooks, _ := object["webhooks"].([]any)
	var found []scoped
	for _, entry := range webhooks {
		webhook, _ := entry.(map[string]any)
		initial, err := json.Marshal(webhook["namespaceSelector"])
		if err != nil {
			return nil, fmt.Errorf("reading a namespaceSelector: %w", err)
		}
		if !strings.Contains(string(initial), nameLabel) {
			continue
		}
		name, _ := webhook["name"].(string)
		found = append(found, scoped{name: name, initial: string(initial)})
		webhook["namespaceSelector"] = selectorMark
	}
	return found, nil
}

// template renders the live scope, or on a first installation the initial one. Rendering the initial one on an
// upgrade would let pods start unprotected until the operator has put it right.
func (s scoped) template(kind any) string {
	return fmt.Sprintf("namespaceSelector:\n    {{- include \"chaperone.scope\" (dict \"kind\" %q \"webhook\" %q \"initial\" (replace %q .Release.Namespace `%s`)) | nindent 4 }}",
		kind, s.name, namespace, s.initial)
}
