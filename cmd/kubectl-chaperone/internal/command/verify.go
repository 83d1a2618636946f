package command

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func (e *environment) verify() *cobra.Command {
	var key, file string
	cmd := &cobra.Command{
		Use:   "verify (NAME | --file FILE)",
		Short: "Check that a recording is whole and unchanged",
		Long: "Check that a recording is whole and unchanged: that every chunk follows from the one before and that the\n" +
			"operator signed the last. Fails unless the recording is complete or still going on, and signed.\n\n" +
			"A recording can be kept and verified without a cluster:\n" +
			"  kubectl get --raw '/apis/logs.chaperone.dev/v1alpha1/namespaces/NS/sessionrecordings/NAME/log?format=log' >FILE",
		Example: "  kubectl chaperone verify billing-agent-billing-x7k2p -n agents\n" +
			"  kubectl chaperone verify --file kept.log --key operator.pem",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.names(recordingNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (file != "") {
				return errors.New("name either a recording or, with --file, a file")
			}
			keys, err := trustedKeys(key)
			if err != nil {
				return err
			}
			log, err := e.openLog(cmd, args, file)
			if err != nil {
				return err
			}
			defer log.Close()
			_, v, err := record.Verify(log, nil, keys...)
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
	cmd.Flags().StringVar(&key, "key", "", keyUsage)
	cmd.Flags().StringVar(&file, "file", "", "verify a file instead of asking the cluster")
	return cmd
}

func (e *environment) openLog(cmd *cobra.Command, args []string, file string) (io.ReadCloser, error) {
	if file != "" {
		return os.Open(file)
	}
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	return c.Log(cmd.Context(), c.Namespace, args[0])
}
