package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (e *environment) printVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the plugin's version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(e.Out, e.version)
			return err
		},
	}
}
