// Command kubectl-chaperone is kubectl's plugin for people who approve and review what agents do: kubectl chaperone.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/command"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if err := command.New(streams, version).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", strings.Join(record.PrintableLines(err.Error()), "\n"))
		os.Exit(1)
	}
}
