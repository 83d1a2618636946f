package notification

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/naming"
)

const (
	// ContentType is that of one event in the structured mode (CloudEvents, HTTP protocol binding 1.0.2, section 3.2).
	ContentType = "application/cloudevents+json; charset=utf-8"

	typePrefix = "dev.chaperone.approvalrequest."
)

// Event is a CloudEvent.
type Event struct {
	SpecVersion string `json:"specversion"`
	// ID is the same for every delivery of one phase of one request, so that a receiver can leave out what it has seen.
	ID     string `json:"id"`
	Source string `json:"source"`
	// Type is dev.chaperone.approvalrequest. and the phase in lower case.
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            Data      `json:"data"`
}

// Data is the request as people need it to decide. Texts of the agent's are masked, escaped and bounded.
type Data struct {
	// Message is one line that can be shown as it is.
	Message       string                     `json:"message"`
	Namespace     string                     `json:"namespace"`
	Name          string                     `json:"name"`
	UID           string                     `json:"uid"`
	Phase         v1alpha1.ApprovalPhase     `json:"phase"`
	Pod           v1alpha1.RequestingPod     `json:"pod"`
	Policy        v1alpha1.PolicyReference   `json:"policy"`
	Rule          string                     `json:"rule"`
	Target        string                     `json:"target"`
	Protocol      string                     `json:"protocol"`
	Command       v1alpha1.RequestedCommand  `json:"command"`
	Approval      v1alpha1.RequestedApproval `json:"approval"`
	Justification string                     `json:"justification,omitempty"`
	ExpiresAt     time.Time                  `json:"expiresAt"`
	Decisions     []Decision                 `json:"decisions,omitempty"`
	// Show prints the request; Approve and Deny decide it, and are there while it can be decided.
	Show    string `json:"show"`
	Approve string `json:"approve,omitempty"`
	Deny    string `json:"deny,omitempty"`
}

// Decision is what one person decided.
type Decision struct {
	User    string                   `json:"user"`
	Verdict v1alpha1.DecisionVerdict `json:"verdict"`
	Reason  string                   `json:"reason,omitempty"`
	Time    time.Time                `json:"time"`
}

// maxShown is how much of a command the line for people shows.
const maxShown = 200

// Of makes the event of a request's phase. source names the cluster; since is when the phase began. It is pure.
func Of(ar *v1alpha1.ApprovalRequest, source string, since time.Time) Event {
	phase := ar.Status.Phase
	data := Data{
		Namespace: ar.Namespace, Name: ar.Name, UID: string(ar.UID), Phase: phase,
		Pod: ar.Spec.Pod, Policy: ar.Spec.Policy, Rule: ar.Spec.Rule, Target: ar.Spec.Target, Protocol: ar.Spec.Protocol,
		Command: ar.Spec.Command, Approval: ar.Spec.Approval, Justification: ar.Spec.Justification, ExpiresAt: ar.Spec.ExpiresAt.UTC(),
		Show: fmt.Sprintf("kubectl get apr %s -n %s -o yaml", ar.Name, ar.Namespace),
	}
	for i := range ar.Spec.Decisions {
		d := &ar.Spec.Decisions[i]
		data.Decisions = append(data.Decisions, Decision{User: d.User, Verdict: d.Verdict, Reason: naming.Escape(d.Reason, 1024), Time: d.Time.UTC()})
	}
	what := naming.Escape(ar.Spec.Command.Text, maxShown)
	where := fmt.Sprintf("pod %s/%s at target %s (rule %s of policy %s)", ar.Namespace, ar.Spec.Pod.Name, ar.Spec.Target, ar.Spec.Rule, ar.Spec.Policy.Name)
	if phase == v1alpha1.PhasePending {
		data.Approve = naming.Decide(ar.Namespace, ar.Name, string(v1alpha1.VerdictApprove))
		data.Deny = naming.Decide(ar.Namespace, ar.Name, string(v1alpha1.VerdictDeny))
		data.Message = fmt.Sprintf("%s waits for %d approval(s) until %s: %s. Decide: %s", where, max(ar.Spec.Approval.Required, 1),
			data.ExpiresAt.Format(time.RFC3339), what, data.Approve)
	} else {
		data.Message = fmt.Sprintf("%s: %s: %s", where, naming.Escape(ar.Status.Message, 1024), what)
	}
	return Event{
		SpecVersion: "1.0", ID: fmt.Sprintf("%s.%s", ar.UID, strings.ToLower(string(phase))), Source: source,
		Type:    typePrefix + strings.ToLower(string(phase)),
		Subject: "namespaces/" + ar.Namespace + "/approvalrequests/" + ar.Name,
		Time:    since.UTC(), DataContentType: "application/json", Data: data,
	}
}

// Body is the event as it is sent and signed.
func (e Event) Body() ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding a notification: %w", err)
	}
	return body, nil
}
