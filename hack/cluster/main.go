// Command cluster builds and runs a real Kubernetes on one node, from Go
// modules and Debian packages alone. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// verb is one thing the command does.
type verb struct {
	name, args, about string
	run               func(ctx context.Context, args []string) error
}

// verbs are in the order of their use.
func verbs() []verb {
	return []verb{
		{"doctor", "", "say what is missing to run here, and the way out", doctorVerb},
		{"build", "", "build and download everything", buildVerb},
		{"assets", "", "build what envtest needs; print KUBEBUILDER_ASSETS", assetsVerb},
		{"up", "", "build if needed, start, wait until pods can be created", upVerb},
		{"status", "", "say whether it runs, and how to use it", statusVerb},
		{"shell", "[-- CMD...]", "a shell, or CMD, with KUBECONFIG and kubectl", shellVerb},
		{"node", "[-- CMD...]", "a shell, or CMD, on the node", nodeVerb},
		{"outside", "[-- CMD...]", "a shell, or CMD, in the network beside the node's", outsideVerb},
		{"image", "build|scratch|load|push ...", "make images and give them to the cluster", imageVerb},
		{"down", "", "stop, and remove everything but what was built", downVerb},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		usage()
		return errors.New("name what to do")
	}
	if run, ok := internalVerbs()[args[0]]; ok {
		return run(ctx, args[1:])
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return v.run(ctx, args[1:])
		}
	}
	usage()
	return fmt.Errorf("there is no %q", args[0])
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: go run . VERB   (in hack/cluster)")
	for _, v := range verbs() {
		fmt.Fprintf(os.Stderr, "  %-8s %-27s %s\n", v.name, v.args, v.about)
	}
	fmt.Fprintln(os.Stderr, "\nCLUSTER=local (default), current (the kubeconfig in use) or kind; CHAPERONE_CLUSTER_DIR moves .cluster elsewhere.")
}
