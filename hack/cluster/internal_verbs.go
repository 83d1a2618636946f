package main

import (
	"context"
	"fmt"
	"os"

	"github.com/chaperone-dev/chaperone/hack/cluster/doctor"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/node"
	"github.com/chaperone-dev/chaperone/hack/cluster/supervisor"
)

// internalVerbs are those the program starts itself with.
func internalVerbs() map[string]func(context.Context, []string) error {
	return map[string]func(context.Context, []string) error{
		supervisor.Verb:     superviseVerb,
		supervisor.InitVerb: initVerb,
		supervisor.NodeVerb: nodeRunVerb,
		doctor.ProbeVerb:    probeVerb,
	}
}

func superviseVerb(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s takes two folders", supervisor.Verb)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return supervisor.Supervise(ctx, folder.Folder{Root: args[0], Source: args[1]}, self)
}

func initVerb(_ context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	code, err := node.Init(self, append([]string{supervisor.NodeVerb}, args...))
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func nodeRunVerb(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s takes two folders and an address", supervisor.NodeVerb)
	}
	return node.New(folder.Folder{Root: args[0], Source: args[1]}).Run(ctx, args[2])
}

func probeVerb(context.Context, []string) error {
	return doctor.Probe()
}
