package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

// completionLimit is how long a shell waits for names before it offers none.
const completionLimit = 3 * time.Second

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// names completes the only argument from what the cluster has.
func (e *environment) names(list func(*cluster.Cluster, context.Context) ([]string, error)) completion {
	values := e.values(list)
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return values(cmd, args, begun)
	}
}

// values completes a flag from what the cluster has. Faults are silent: a shell has nowhere to show them.
func (e *environment) values(list func(*cluster.Cluster, context.Context) ([]string, error)) completion {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		c, err := e.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionLimit)
		defer cancel()
		all, err := list(c, ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, name := range all {
			if strings.HasPrefix(name, begun) {
				out = append(out, name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func requestNames(only func(*v1alpha1.ApprovalRequest) bool) func(*cluster.Cluster, context.Context) ([]string, error) {
	return func(c *cluster.Cluster, ctx context.Context) ([]string, error) {
		list, err := c.Approvals(ctx, c.Namespace)
		if err != nil {
			return nil, err
		}
		var out []string
		for i := range list.Items {
			if only(&list.Items[i]) {
				out = append(out, list.Items[i].Name)
			}
		}
		return out, nil
	}
}

func anyRequest(*v1alpha1.ApprovalRequest) bool { return true }

//nolint:revive // the context comes second, as in the method expressions that names takes
func recordingNames(c *cluster.Cluster, ctx context.Context) ([]string, error) {
	list, err := c.Recordings(ctx, c.Namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}

//nolint:revive // as above
func podNames(c *cluster.Cluster, ctx context.Context) ([]string, error) {
	list, err := c.Pods(ctx, c.Namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}
