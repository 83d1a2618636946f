package command

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// decide shows what is decided, then decides it. What is shown is what runs: none of it can change any more.
func (e *environment) decide(ctx context.Context, name string, decision v1alpha1.Decision, o *output) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := e.connect()
	if err != nil {
		return err
	}
	request, err := c.Approval(ctx, name)
	if err != nil {
		return err
	}
	if !o.documents() {
		if err := e.describe(request, time.Now()); err != nil {
			return err
		}
	}
	decided, err := c.Decide(ctx, name, decision)
	if err != nil {
		return err
	}
	if printed, err := o.object(e.Out, decided, "ApprovalRequest"); printed || err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Out, "\n%s\n", outcome(decided, decision.Verdict))
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
