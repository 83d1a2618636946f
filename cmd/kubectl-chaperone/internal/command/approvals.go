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
	var watch bool
	run := func(cmd *cobra.Command, watch bool) error {
		if err := o.check(); err != nil {
			return err
		}
		c, err := e.connect()
		if err != nil {
			return err
		}
		namespace := o.of(c.Namespace)
		list, err := c.Approvals(cmd.Context(), namespace)
		if err != nil {
			return err
		}
		slices.SortStableFunc(list.Items, byUrgency)
		if watch {
			return e.follow(cmd.Context(), c, namespace, &o, list)
		}
		if printed, err := o.object(e.Out, list, "ApprovalRequestList"); printed || err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return o.nothing(e.ErrOut, "approval requests", namespace)
		}
		return o.table(e.Out, e.paint, approvalColumns).print(approvalRows(list.Items, time.Now()))
	}
	cmd := &cobra.Command{
		Use:     "approvals",
		Aliases: []string{"approvalrequests", "apr"},
		Short:   "List, watch and show what agents ask people for",
		Long: "List what agents ask people for, with what waits for a decision first. `approvals show NAME` prints all that an\n" +
			"approver has to know about one, `approvals watch` goes on as requests come and are decided.",
		Example: "  # what waits for a decision in namespace agents\n" +
			"  kubectl chaperone approvals -n agents\n\n" +
			"  # all of one request\n" +
			"  kubectl chaperone approvals show billing-agent-7d9f4-03b4f2b5 -n agents\n\n" +
			"  # of all namespaces, as they come\n" +
			"  kubectl chaperone approvals watch -A",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, watch) },
	}
	o.bindList(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on as requests come and are decided")
	list := &cobra.Command{
		Use: "list", Short: "List what agents ask people for", Args: cobra.NoArgs,
		Example: "  kubectl chaperone approvals list -A -o wide",
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd, false) },
	}
	o.bindList(list)
	follow := &cobra.Command{
		Use: "watch", Short: "List what agents ask people for, and go on as requests come and are decided", Args: cobra.NoArgs,
		Example: "  kubectl chaperone approvals watch -n agents",
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd, true) },
	}
	o.bindList(follow)
	cmd.AddCommand(list, follow, e.showApproval())
	return cmd
}

func (e *environment) showApproval() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show all that an approver has to know about a request",
		Long: "Show all that an approver has to know about a request: the command, its length and its digest, who asks and from\n" +
			"which images, the policy and rule that demand the approval, what the agent says about it, and the decisions so far.",
		Example:           "  kubectl chaperone approvals show billing-agent-7d9f4-03b4f2b5 -n agents",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.names(requestNames(anyRequest)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			request, err := c.Approval(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if printed, err := o.object(e.Out, request, "ApprovalRequest"); printed || err != nil {
				return err
			}
			return e.describe(request, time.Now())
		},
	}
	o.bind(cmd, "json", "yaml", "name")
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
	{name: "NAMESPACE"}, {name: "NAME"}, {name: "PHASE", styled: true}, {name: "POD"}, {name: "TARGET"}, {name: "POLICY", wide: true},
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
