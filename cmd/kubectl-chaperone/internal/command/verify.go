package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func (e *environment) verify() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "verify (NAME | --file FILE)",
		Short: "Check that a recording is whole and unchanged",
		Long: "Check that a recording is whole and unchanged: that every chunk follows from the one before and that the\n" +
			"operator signed the last. Fails unless the recording is complete or still going on, and signed.\n\n" +
			"A recording can be kept and verified without a cluster; without the plugin it is fetched by\n" +
			"  kubectl get --raw '/apis/logs.chaperone.dev/v1alpha1/namespaces/NS/sessionrecordings/NAME/log?format=log' >FILE",
		Example: "  kubectl chaperone verify billing-agent-billing-x7k2p -n agents\n" +
			"  kubectl chaperone verify --file kept.log --key operator.pem",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.names(recordingNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, v, err := e.read(cmd.Context(), &from, args, nil, nil)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(e.Out, "%s\n%s\n", v, v.Counts); err != nil {
				return err
			}
			if v.State != record.Complete && v.State != record.Recording {
				return fmt.Errorf("the recording is %s", v.State)
			}
			if v.KeyID == "" {
				return errors.New("the recording is not signed")
			}
			return nil
		},
	}
	from.bind(cmd)
	return cmd
}
