package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func (e *environment) approve() *cobra.Command {
	var reason string
	var lasts time.Duration
	var o output
	cmd := &cobra.Command{
		Use:   "approve NAME",
		Short: "Let an agent run what it asks for",
		Long: "Let an agent run what it asks for: once, or with --for as often as it likes for that long, never beyond the\n" +
			"request's own expiry. Your name and groups are those that the API server knows you by.",
		Example: "  kubectl chaperone approve billing-4kq7d -n agents --reason \"agreed with finance\"\n" +
			"  kubectl chaperone approve billing-4kq7d -n agents --for 30m",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.names(requestNames(pending)),
		RunE: func(cmd *cobra.Command, args []string) error {
			decision := v1alpha1.Decision{Verdict: v1alpha1.VerdictApprove, Reason: reason}
			if cmd.Flags().Changed("for") {
				if lasts <= 0 {
					return fmt.Errorf("--for %s: must be longer than nothing; leave it out to approve once", lasts)
				}
				decision.Duration = &metav1.Duration{Duration: lasts}
			}
			return e.decide(cmd.Context(), args[0], decision, &o)
		},
	}
	o.bind(cmd, "json", "yaml", "name")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads it later")
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long the approval holds for the same command, such as 30m; once without it")
	return cmd
}
