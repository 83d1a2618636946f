package command

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func (e *environment) approvals() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:     "approvals",
		Aliases: []string{"approvalrequests", "apr"},
		Short:   "List what agents ask people for",
		Long:    "List what agents ask people for, with what waits for a decision first.",
		Example: "  kubectl chaperone approvals -n agents\n  kubectl chaperone approvals -A -o wide",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			namespace := c.Namespace
			if o.allNamespaces {
				namespace = ""
			}
			list, err := c.Approvals(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			slices.SortStableFunc(list.Items, byUrgency)
			for i := range list.Items {
				list.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ApprovalRequest"))
			}
			if printed, err := o.object(e.Out, list, "ApprovalRequestList"); printed || err != nil {
				return err
			}
			if len(list.Items) == 0 {
				return o.nothing(e.ErrOut, "approval requests", namespace)
			}
			return o.table(e.Out, approvalColumns, approvalRows(list.Items, time.Now()))
		},
	}
	o.bind(cmd)
	return cmd
}

// byUrgency puts what is pending first, and of that what expires soonest; of the rest the newest.
func byUrgency(a, b v1alpha1.ApprovalRequest) int {
	if p, q := pending(&a), pending(&b); p != q {
		if p {
			return -1
		}
		return 1
	} else if p {
		return a.Spec.ExpiresAt.Compare(b.Spec.ExpiresAt.Time)
	}
	return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func pending(r *v1alpha1.ApprovalRequest) bool {
	return r.Status.Phase == v1alpha1.PhasePending || r.Status.Phase == ""
}

var approvalColumns = []column{
	{name: "NAMESPACE"}, {name: "NAME"}, {name: "PHASE"}, {name: "POD"}, {name: "TARGET"}, {name: "POLICY", wide: true},
	{name: "RULE"}, {name: "COMMAND"}, {name: "SHA256", wide: true}, {name: "APPROVALS", wide: true}, {name: "EXPIRES"}, {name: "AGE"},
}

func approvalRows(items []v1alpha1.ApprovalRequest, now time.Time) (rows [][]string) {
	for i := range items {
		r := &items[i]
		phase, expires := string(r.Status.Phase), "-"
		if pending(r) {
			phase = string(v1alpha1.PhasePending)
			if expires = "expired"; now.Before(r.Spec.ExpiresAt.Time) {
				expires = "in " + age(r.Spec.ExpiresAt.Time, now)
			}
		}
		rows = append(rows, []string{
			r.Namespace, r.Name, phase, r.Spec.Pod.Name, r.Spec.Target, r.Spec.Policy.Name, r.Spec.Rule,
			shorten(r.Spec.Command.Text, 60), shorten(r.Spec.Command.SHA256, 13),
			fmt.Sprintf("%d/%d", r.Status.Approvals, r.Spec.Approval.Required), expires, age(now, r.CreationTimestamp.Time),
		})
	}
	return rows
}
