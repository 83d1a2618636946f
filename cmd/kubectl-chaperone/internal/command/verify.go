package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func (e *environment) verify() *cobra.Command {
	from := source{check: true}
	cmd := &cobra.Command{
		Use:   "verify (NAME | --file FILE)",
		Short: "Check that a recording is whole and unchanged",
		Long: "Check that a recording is whole and unchanged: that every chunk follows from the one before and that the\n" +
			"operator signed the last, with one of the keys that it publishes or that --key names. Fails unless the recording is\n" +
			"complete or still going on, and signed.\n\n" +
			"A recording can be kept and verified without a cluster; without the plugin it is fetched by\n" +
			"  kubectl get --raw '/apis/logs.chaperone.dev/v1alpha1/namespaces/NS/sessionrecordings/NAME/log?format=log' >FILE",
		Example: "  kubectl chaperone verify billing-agent-billing-x7k2p -n agents\n" +
			"  # without a cluster: keep the keys with the logs\n" +
			"  kubectl get --raw " + keysPath + " >keys.json\n" +
			"  kubectl chaperone verify --file kept.log --key keys.json",
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
