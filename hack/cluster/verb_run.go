package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chaperone-dev/chaperone/hack/cluster/doctor"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/progress"
	"github.com/chaperone-dev/chaperone/hack/cluster/supervisor"
)

// expectStart is how long a start takes on two idle cores.
const expectStart = 15 * time.Second

func upVerb(ctx context.Context, _ []string) error {
	f, c, release, err := command()
	if err != nil {
		return err
	}
	defer release()
	switch c {
	case current:
		if err := c.reachable(ctx, f); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "using the cluster of %s\n", c.kubeconfig(f))
		return nil
	case kind:
		if c.reachable(ctx, f) == nil {
			fmt.Fprintln(os.Stderr, "the kind cluster is running")
			return nil
		}
		return kindCommand(ctx, "create", "cluster", "--kubeconfig", f.Kubeconfig())
	}
	pid, err := supervisor.Running(f)
	if err != nil {
		return err
	}
	if pid != 0 {
		if _, err := os.Stat(f.State("ready")); err == nil {
			fmt.Fprintf(os.Stderr, "the cluster is running already\nexport KUBECONFIG=%s\n", f.Kubeconfig())
			return nil
		}
		// A start that was interrupted; begin again.
		if err := supervisor.Stop(f); err != nil {
			return err
		}
	}
	if problems := doctor.Examine(f); len(problems) > 0 {
		return errors.New(doctor.Report(problems))
	}
	if err := build(ctx, f); err != nil {
		return err
	}
	plan := progress.New(1)
	if err := plan.Run("cluster", expectStart, func(step *progress.Step) error {
		return supervisor.Start(ctx, f, step.Say)
	}); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	fmt.Fprintf(os.Stderr, "export KUBECONFIG=%s\n", f.Kubeconfig())
	return nil
}

func downVerb(ctx context.Context, _ []string) error {
	f, c, release, err := command()
	if err != nil {
		return err
	}
	defer release()
	switch c {
	case current:
		return nil
	case kind:
		return kindCommand(ctx, "delete", "cluster", "--kubeconfig", f.Kubeconfig())
	}
	return supervisor.Stop(f)
}

func statusVerb(ctx context.Context, _ []string) error {
	f, err := folder.Find()
	if err != nil {
		return err
	}
	c, err := chosen()
	if err != nil {
		return err
	}
	if c == local {
		pid, err := supervisor.Running(f)
		if err != nil {
			return err
		}
		if pid == 0 {
			return errors.New("the cluster is not running: go run . up")
		}
		if _, err := os.Stat(f.State("ready")); err != nil {
			return errors.New("the cluster is starting")
		}
	}
	if err := c.reachable(ctx, f); err != nil {
		return err
	}
	fmt.Printf("running\nexport KUBECONFIG=%s\n", c.kubeconfig(f))
	if c == local {
		fmt.Printf("logs in %s\n", f.Log("*"))
	}
	return nil
}

func doctorVerb(ctx context.Context, _ []string) error {
	f, err := folder.Find()
	if err != nil {
		return err
	}
	c, err := chosen()
	if err != nil {
		return err
	}
	if c != local {
		return c.reachable(ctx, f)
	}
	if problems := doctor.Examine(f); len(problems) > 0 {
		return errors.New(doctor.Report(problems))
	}
	fmt.Println("nothing is missing")
	return nil
}

// command is what every verb that starts or stops begins with: the folder, the
// cluster meant, and a lock against another such verb.
func command() (folder.Folder, choice, func(), error) {
	f, err := folder.Find()
	if err != nil {
		return f, "", nil, err
	}
	c, err := chosen()
	if err != nil {
		return f, "", nil, err
	}
	if c == local && os.Geteuid() != 0 {
		return f, "", nil, errors.New(doctor.Report(doctor.Examine(f)))
	}
	release, err := folder.Lock(f.CommandLock(), func() {
		fmt.Fprintln(os.Stderr, "waiting for another start or stop to end")
	})
	return f, c, release, err
}
