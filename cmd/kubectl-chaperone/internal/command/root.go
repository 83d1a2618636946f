// Package command holds the verbs of kubectl chaperone, one file each.
package command

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

// environment is what every verb works with.
type environment struct {
	genericiooptions.IOStreams
	flags   *genericclioptions.ConfigFlags
	version string
	paint   painter
}

func (e *environment) connect() (*cluster.Cluster, error) { return cluster.Connect(e.flags) }

// New returns the whole command.
func New(streams genericiooptions.IOStreams, version string) *cobra.Command {
	e := &environment{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), version: version,
		paint: painterFor(streams.Out, os.Getenv)}
	root := &cobra.Command{
		Use:   "kubectl-chaperone",
		Short: "Approve and review what automated agents do",
		Long: "Approve and review what automated agents do.\n\n" +
			"Everything here can be done with kubectl alone; this plugin only makes it pleasant.",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl chaperone"},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	e.flags.AddFlags(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("namespace", e.names((*cluster.Cluster).Namespaces))
	root.AddCommand(
		e.approvals(), e.approve(), e.deny(),
		e.recordings(), e.replay(), e.export(), e.verify(),
		e.explainPod(), e.status(), e.test(),
		e.printVersion(),
	)
	return root
}
