package command

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// decide shows what is decided, then decides it.
func (e *environment) decide(ctx context.Context, name string, decision v1alpha1.Decision) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	request, err := c.Approval(ctx, name)
	if err != nil {
		return err
	}
	if err := describe(e.Out, request); err != nil {
		return err
	}
	decided, err := c.Decide(ctx, name, decision)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Out, "\n%s\n", outcome(decided, decision.Verdict))
	return err
}

// describe says what will run, where and for whom.
func describe(w io.Writer, r *v1alpha1.ApprovalRequest) error {
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "%-9s %s\n", name, record.Printable(text)) }
	line("Request", r.Namespace+"/"+r.Name)
	line("Agent", "pod "+r.Spec.Pod.Name+" (service account "+r.Spec.Pod.ServiceAccount+")")
	line("Target", r.Spec.Target+" ("+r.Spec.Protocol+")")
	line("Rule", r.Spec.Rule+" of policy "+r.Spec.Policy.Name)
	if r.Spec.Justification != "" {
		line("Agent says", r.Spec.Justification)
	}
	for i, text := range strings.Split(r.Spec.Command.Text, "\n") {
		name := ""
		if i == 0 {
			name = "Command"
		}
		line(name, text)
	}
	if shown := int64(len(r.Spec.Command.Text)); r.Spec.Command.Length > shown {
		line("", fmt.Sprintf("… %d bytes in all, of which %d are shown", r.Spec.Command.Length, shown))
	}
	line("SHA256", r.Spec.Command.SHA256)
	_, err := io.WriteString(w, b.String())
	return err
}

// outcome says where the request stands after a decision.
func outcome(r *v1alpha1.ApprovalRequest, verdict v1alpha1.DecisionVerdict) string {
	name := "approvalrequest.chaperone.dev/" + r.Name
	if verdict == v1alpha1.VerdictDeny {
		return name + " denied"
	}
	approvals := int32(0)
	for _, d := range r.Spec.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove {
			approvals++
		}
	}
	if missing := r.Spec.Approval.Required - approvals; missing > 0 {
		return fmt.Sprintf("%s approved by you; %d of %d approvals, %d more needed", name, approvals, r.Spec.Approval.Required, missing)
	}
	return name + " approved"
}
