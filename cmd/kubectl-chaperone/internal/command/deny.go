package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func (e *environment) deny() *cobra.Command {
	var reason string
	var o output
	cmd := &cobra.Command{
		Use:   "deny NAME --reason REASON",
		Short: "Refuse what an agent asks for",
		Long: "Refuse what an agent asks for. One denial outweighs any number of approvals, and withdraws a grant that they\n" +
			"have made. The agent reads the reason.",
		Example:           "  kubectl chaperone deny billing-4kq7d -n agents --reason \"use the migration\"",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.names(requestNames(anyRequest)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return errors.New("--reason is needed: the agent reads it and learns what to do instead")
			}
			return e.decide(cmd.Context(), args[0], v1alpha1.Decision{Verdict: v1alpha1.VerdictDeny, Reason: reason}, &o)
		},
	}
	o.bind(cmd, "json", "yaml", "name")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the agent and for whoever reads it later")
	return cmd
}
