package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// refusal is an answer in place of the API server's: a metav1.Status.
type refusal struct {
	code    int
	reason  string // metav1.StatusReason
	message string
	// retryAfter, in seconds, tells clients that the same request may succeed; 0 where it does not say.
	retryAfter int
}

func (r *refusal) Error() string { return r.message }

// body is the Status. kubectl prints "Error from server (REASON): MESSAGE".
func (r *refusal) body(k *policy.KubernetesRequest) []byte {
	type details struct {
		Name              string `json:"name,omitempty"`
		Group             string `json:"group,omitempty"`
		Kind              string `json:"kind,omitempty"`
		RetryAfterSeconds int    `json:"retryAfterSeconds,omitempty"`
	}
	status := struct {
		Kind       string   `json:"kind"`
		APIVersion string   `json:"apiVersion"`
		Metadata   struct{} `json:"metadata"`
		Status     string   `json:"status"`
		Message    string   `json:"message"`
		Reason     string   `json:"reason"`
		Details    *details `json:"details,omitempty"`
		Code       int      `json:"code"`
	}{Kind: "Status", APIVersion: "v1", Status: "Failure", Message: r.message, Reason: r.reason, Code: r.code}
	if k != nil && k.Resource != "" {
		status.Details = &details{Name: k.Name, Group: k.Group, Kind: k.Resource, RetryAfterSeconds: r.retryAfter}
	}
	out, err := json.Marshal(&status)
	if err != nil { // strings and numbers
		return nil
	}
	return append(out, '\n')
}

// write answers the request. Retry-After makes clients try again by themselves, so it is not set: a person decides.
func (r *refusal) write(w http.ResponseWriter, k *policy.KubernetesRequest) {
	body, media := r.body(k), "application/json"
	if k != nil && k.Discovery {
		// Of an answer to discovery client-go shows what is text, and of a Status nothing: "unknown".
		body, media = []byte(r.message+"\n"), "text/plain; charset=utf-8"
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "no-cache, private")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.code)
	_, _ = w.Write(body)
}

// misread is the answer to a request that could be read in two ways, or in none.
func misread(v policy.Verdict, err error) *refusal {
	why, way := "because it is not plain what it is for", "Write it as the API's clients do."
	if errors.Is(err, errImpersonates) {
		why, way = "because it is for nobody to allow", "Leave --as out, or give the account the rights that it needs."
	}
	return &refusal{code: http.StatusBadRequest, reason: "BadRequest", message: fmt.Sprintf(
		"Chaperone did not forward the request, %s: %v (%s). %s", why, err, ruling(v), way)}
}

// denial is the answer to a denied request.
func denial(v policy.Verdict) *refusal {
	message := v.Message
	if message == "" {
		message = "refused"
	}
	return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
		"%s; refused by Chaperone (%s). Nothing was changed. To be allowed it, ask the policy's owner to change the rule.", strings.TrimSuffix(message, "."), ruling(v))}
}

// ruling names policy and rule.
func ruling(v policy.Verdict) string {
	switch {
	case v.Policy == "":
		return fmt.Sprintf("rule %q", v.Rule)
	case v.Generation == 0:
		return fmt.Sprintf("policy %s, rule %q", v.Policy, v.Rule)
	}
	return fmt.Sprintf("policy %s (generation %d), rule %q", v.Policy, v.Generation, v.Rule)
}

// undecided is the answer where people did not approve.
func undecided(v policy.Verdict, err error) *refusal {
	r := &refusal{code: http.StatusForbidden, reason: "Forbidden"}
	var hint string
	switch {
	case errors.Is(err, session.ErrDenied):
		hint = "The reason given is the approver's."
	case errors.Is(err, session.ErrExpired):
		hint = "Send the request again to ask again."
	case errors.Is(err, session.ErrPending):
		hint = "Send the same request again once it is approved: "
		namespace, _, _ := strings.Cut(v.Policy, "/")
		hint += "an approver lists requests with `kubectl get approvalrequests -n " + namespace + "`."
	default:
		r.code, r.reason = http.StatusServiceUnavailable, "ServiceUnavailable"
		hint = "Requests that need no approval still work."
	}
	r.message = fmt.Sprintf("%v; held by Chaperone (%s). Nothing was changed. %s", err, ruling(v), hint)
	return r
}

// unrecorded is the answer where a record could not be made safe and the policy blocks.
func unrecorded(err error) *refusal {
	return &refusal{code: http.StatusServiceUnavailable, reason: "ServiceUnavailable", message: fmt.Sprintf(
		"the request cannot be recorded: %v; the policy says recording.onFailure: Block. Nothing was changed. It will be accepted again when the recording is.", err)}
}

// unreachable is the answer where the API server could not be asked.
func unreachable(target string, err error) *refusal {
	return &refusal{code: http.StatusBadGateway, reason: "ServiceUnavailable", message: fmt.Sprintf(
		"Chaperone could not reach the API server of target %s: %v", target, err)}
}

// statusMessage is what an answer that is a Status says, for the recording.
func statusMessage(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &status); err == nil && status.Message != "" {
		return status.Message
	}
	text, _, _ := strings.Cut(string(body), "\n")
	return text
}
